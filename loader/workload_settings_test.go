// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
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
