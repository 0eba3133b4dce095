// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStatusShowsEveryPinByItsID(t *testing.T) {
	n := upNode(t)
	type object struct {
		Name string
		ID   int
	}
	var status struct{ Programs, Links, Maps []object }
	n.query(&status, "status")
	shown := map[string]string{}
	for kind, list := range map[string][]object{"prog": status.Programs, "link": status.Links, "map": status.Maps} {
		for _, o := range list {
			shown["kmesh_node/ads/"+kind+"/"+o.Name] = fmt.Sprintf("%s %d", kind, o.ID)
		}
	}
	pins := n.pinIDs()
	// The loader's own record is a pin beside those of the data plane.
	delete(pins, "kmesh_node/ads/meta")
	if !maps.Equal(shown, pins) {
		t.Errorf("status shows\n%v, pinned are\n%v", shown, pins)
	}
}

func TestUpReattachesWhenTheCgroupWasMadeAnew(t *testing.T) {
	n := newNode(t)
	n.cg = filepath.Join(cgroupPath, "again")
	remake := func() {
		if err := os.Remove(n.cg); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.Mkdir(n.cg, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	remake()
	n.up()
	remake()
	n.up()
	t.Cleanup(func() {
		n.want(exitDone, "down")
		if err := os.Remove(n.cg); err != nil {
			t.Error(err)
		}
	})
	p := newPod(t)
	p.serve(service, epA1)
	n.enroll(p)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	c := p.client(0)
	if err := moveTo(n.cg); err != nil {
		t.Fatal(err)
	}
	wantReach(t, c, service, epA1)
	if err := moveTo(cgroupPath); err != nil {
		t.Fatal(err)
	}
}

func TestRunStaysAndLeavesTheDataPlane(t *testing.T) {
	n := newNode(t)
	daemon := n.background("run")
	if err := eventually(func() error { return wantUp(n) }); err != nil {
		t.Fatal(err)
	}
	p := newPod(t)
	p.serve(service, epA1)
	n.enroll(p)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	before := n.pinIDs()
	n.up() // beside it, the same build: nothing to do
	refused(t, exitLocked, n.run("run"), fmt.Sprint(daemon.Process.Pid))
	refused(t, exitLocked, n.run("down"), fmt.Sprint(daemon.Process.Pid))
	if after := n.pinIDs(); !maps.Equal(before, after) {
		t.Errorf("pins beside run, before and after:\n%v\n%v", before, after)
	}
	if err := daemon.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Wait(); err != nil {
		t.Errorf("run after SIGTERM: %v", err)
	}
	wantReach(t, p.client(0), service, epA1)
}

// What exec passes on: each map's descriptor, and no program or link, which would
// keep the data plane attached as long as the command runs.
func TestExecPassesLiveDescriptorsOfMapsAlone(t *testing.T) {
	n := upNode(t)
	vars := environment(n)
	for name, id := range vars {
		r := n.want(exitDone, "exec", "--", "sh", "-c", `cat /proc/self/fdinfo/$`+name+`_FD`)
		found := false
		for _, line := range strings.Split(r.out, "\n") {
			if shown, ok := strings.CutPrefix(line, "map_id:"); ok {
				found = strings.TrimSpace(shown) == id
			}
		}
		if !found {
			t.Errorf("%s=%s, but of %s_FD: %v", name, id, name, r)
		}
	}
	r := n.want(exitDone, "exec", "--", "sh", "-c", "ls -l /proc/self/fd")
	if contains(r.out, "bpf-prog") || contains(r.out, "bpf_link") {
		t.Errorf("%v\nshows a program or a link", r)
	}
	if got := strings.Count(r.out, "bpf-map"); got != len(vars) {
		t.Errorf("%v\nshows %d maps, want %d", r, got, len(vars))
	}
}
