// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// pstate is what packets are judged by.
func (h *host) pstate() (p kwPstate) {
	h.t.Helper()
	must(h.t, h.cfgHandles(func(hd *Handles) error {
		return withPstate(hd.FD("km_pstate"), func(have *kwPstate) { p = *have })
	}))
	return p
}

func TestMapsOfAnotherSizeAreReplaced(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	before, was := h.record(), h.pstate()
	if was.half_shift != 12 || was.exempt != 1 || was.native != 0 {
		t.Errorf("km_pstate %+v", was)
	}
	h.cfg.FlowEntries, h.cfg.PolicySlots = 1024, 2*MinPolicySlots
	must(t, h.up())
	after := h.record()
	for _, m := range mapsOf(Workload) {
		want := m.name == "km_flow" || m.name == "km_policy" || m.name == "km_pstate"
		if got := before.Maps[m.name] != after.Maps[m.name]; got != want {
			t.Errorf("map %s: replaced %v", m.name, got)
		}
	}
	if now := h.pstate(); now.half_shift != 13 || now.word>>1 <= was.word>>1 || now.exempt != 1 {
		t.Errorf("km_pstate %+v, was %+v", now, was)
	}
	s := h.status()
	if s.Workload.FlowEntries != 1024 || s.Workload.PolicySlots != 2*MinPolicySlots {
		t.Errorf("status: %+v", s.Workload)
	}
	h.noProblem()
	h.upAgainChangesNothing()
}

func TestSettingsOfWorkloadModeAreWrittenWithoutAReload(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	before, was := h.record(), h.pstate()
	h.cfg.Workload = WorkloadSettings{WaypointPort: 15999, JudgeNode: true, NodeName: "n1", Region: "r", Zone: "z", Subzone: "s"}
	must(t, h.up())
	if !h.record().same(before) {
		t.Error("the record changed")
	}
	w := h.status().Workload
	if w.WaypointPort != 15999 || w.NodeTraffic != "judge" || w.NodeName != "n1" || w.Locality != "r/z/s" || len(w.Exempt) != 0 {
		t.Errorf("status: %+v", w)
	}
	if now := h.pstate(); now.word>>1 <= was.word>>1 {
		t.Errorf("verdicts on the node's traffic stay: %+v, was %+v", now, was)
	}
	h.upAgainChangesNothing()
	h.cfg.Workload = Default().Workload
	t.Setenv("KMESH_NODE_FAULT", "attach")
	if err := h.up(); !errors.Is(err, errFault) {
		t.Fatalf("up: %v", err)
	}
	if again := h.status().Workload; again.WaypointPort != w.WaypointPort || again.NodeTraffic != w.NodeTraffic {
		t.Errorf("a failed up left %+v, was %+v", again, w)
	}
}

func TestAnotherXDPModeIsAttachedAnewAndTakenBack(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newNetns(t)
	ip(t, path, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	cookie := h.enroll(path)
	mode := func() (l []string) {
		must(t, insideOf(path, func() error {
			out, err := exec.Command("ip", "link", "show").CombinedOutput()
			for _, w := range strings.Fields(string(out)) {
				if w == "xdp" || w == "xdpgeneric" {
					l = append(l, w)
				}
			}
			return err
		}))
		return l
	}
	if got := mode(); !slices.Equal(got, []string{"xdpgeneric", "xdpgeneric"}) {
		t.Errorf("modes %q", got)
	}
	h.cfg.XDPMode = XDPNative
	t.Setenv("KMESH_NODE_FAULT", "attach")
	if err := h.up(); !errors.Is(err, errFault) {
		t.Fatalf("up: %v", err)
	}
	t.Setenv("KMESH_NODE_FAULT", "")
	if got := mode(); !slices.Equal(got, []string{"xdpgeneric", "xdpgeneric"}) || h.pstate().native != 0 {
		t.Errorf("modes %q after a failed up", got)
	}
	h.noProblem()
	must(t, h.up())
	if got := mode(); !slices.Equal(got, []string{"xdp", "xdp"}) || h.pstate().native != 1 {
		t.Errorf("modes %q", got)
	}
	if len(h.nicLinks(cookie)) != 2 {
		t.Errorf("links %q", h.nicLinks(cookie))
	}
	h.noProblem()
	h.upAgainChangesNothing()
}

// Room for workloads grows and shrinks on a live host: what is configured stays, and a
// writer that has the old maps open finds out. What does not fit any more is refused.
func TestRoomForWorkloadsIsASetting(t *testing.T) {
	h := newWorkloadHost(t)
	h.cfg.Workloads = MinWorkloads
	must(t, h.up())
	pods := func(n int) (docs []xds.Document) {
		d := xds.Document{Path: "pods", Kind: xds.KindAddress}
		for i := range n {
			d.Resources = append(d.Resources, &wapi.Address{Type: &wapi.Address_Workload{Workload: &wapi.Workload{
				Uid: fmt.Sprintf("pod%d", i), Namespace: "ns", Addresses: [][]byte{{10, 1, byte(i >> 8), byte(i)}}}}})
		}
		return []xds.Document{d}
	}
	apply := func(n int) (err error) {
		h.withWriter(func(s *workload.Store) error {
			_, err = s.Apply(pods(n), false)
			return nil
		})
		return err
	}
	count := func() (n int) {
		h.withWriter(func(s *workload.Store) error {
			u, err := s.Stats()
			n = u.Workloads
			return err
		})
		return n
	}
	must(t, apply(1000))
	if err := apply(1500); err == nil || !strings.Contains(err.Error(), "up --workloads 2048 makes room") {
		t.Errorf("more than fit: %v", err)
	}
	h.withWriter(func(old *workload.Store) error {
		h.cfg.Workloads *= 2
		must(t, h.up())
		if _, err := old.Apply(pods(1001), false); exit.Code(err) != exit.NotUp {
			t.Errorf("a writer of the old maps: %v", err)
		}
		return nil
	})
	if n := count(); n != 1000 || h.status().Workload.Workloads != 2*MinWorkloads {
		t.Errorf("%d workloads, room for %d", n, h.status().Workload.Workloads)
	}
	h.noProblem()
	h.upAgainChangesNothing()
	must(t, apply(1500))
	before := h.record()
	h.cfg.Workloads = MinWorkloads
	if err := h.up(); exit.Code(err) != exit.Load || !strings.Contains(err.Error(), "--workloads") {
		t.Errorf("up with less room than is in use: %v", err)
	}
	h.cfg.Workloads *= 2
	if !h.record().same(before) || count() != 1500 {
		t.Error("an up that was refused changed something")
	}
	h.noProblem()
}
