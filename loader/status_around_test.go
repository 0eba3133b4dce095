// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// nothingAround asks that status finds nothing beside the data plane.
func (h *host) nothingAround() {
	h.t.Helper()
	s := h.status()
	if len(s.Problems)+len(s.Foreign)+len(s.Unowned)+len(s.Unpinned) > 0 || s.Outside != nil || s.Run != "" {
		h.t.Errorf("status finds %q, %+v, %q, %+v, %+v, run %q", s.Problems, s.Foreign, s.Unowned, s.Unpinned, s.Outside, s.Run)
	}
}

func TestStatusTellsOthersProgramsOnTheCgroup(t *testing.T) {
	eachMode(t, func(t *testing.T, h *host) {
		must(t, h.up())
		h.nothingAround()
		other := *h
		other.cfg.BpfFsPath += "-other"
		other.t_ = other.cfg.tree()
		must(t, other.up())
		ids := other.record().Progs
		f := h.status().Foreign
		if len(f) != 3 || slices.ContainsFunc(f, func(f Foreign) bool {
			return f.ID != ids[f.Name] || f.Target != h.cfg.Cgroup2Path || f.Alone
		}) {
			t.Errorf("foreign: %+v, want the three of %v", f, ids)
		}
		// From a cgroup above they run for this one too.
		must1(Down(&other.cfg))(t)
		above := h.pinned(progDir, "sockconn4")
		cg := must1(openCgroup(filepath.Dir(h.cfg.Cgroup2Path)))(t)
		defer func() { must(t, unix.Close(cg.fd)) }()
		link := must1(linkCreate(above, cg.fd, cgroupConnect4))(t)
		defer func() { must(t, unix.Close(link)) }()
		s := h.status()
		if len(s.Foreign) != 0 || len(s.Unpinned) != 1 || s.Unpinned[0].Name != "sockconn4" || s.Unpinned[0].Kind != "link" {
			t.Errorf("an own program above: foreign %+v, unpinned %+v", s.Foreign, s.Unpinned)
		}
	})
}

func TestStatusTellsAProgramThatLetsNobodyElseIn(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	child := filepath.Join(h.cfg.Cgroup2Path, "child")
	must(t, os.Mkdir(child, 0o755))
	defer func() { must(t, os.Remove(child)) }()
	cg := must1(openCgroup(child))(t)
	defer func() { must(t, unix.Close(cg.fd)) }()
	prog := h.pinned(progDir, "sock_ops")
	must(t, attachAlone(prog, cg.fd, cgroupSockOps))
	defer func() { must(t, detachAlone(prog, cg.fd, cgroupSockOps)) }()
	l, err := foreignOnCgroup(Ads, child, map[uint32]bool{})
	must(t, err)
	i := slices.IndexFunc(l, func(f Foreign) bool { return f.Target == child })
	if i < 0 || !l[i].Alone || l[i].Name != "sock_ops" || l[i].ID != h.record().Progs["sock_ops"] {
		t.Errorf("on the child: %+v", l)
	}
	if n := len(slices.DeleteFunc(l, func(f Foreign) bool { return f.Target != "above "+child })); n != 2 {
		t.Errorf("%d programs of the cgroup above, want the two that connect", n)
	}
}

func TestStatusTellsOthersProgramsOnADevice(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newPod(t, "10.1.2.3/24")
	cookie := h.enroll(path)
	h.nothingAround()
	name := h.nicLinks(cookie)[0]
	other := *h
	other.cfg.BpfFsPath += "-other"
	other.t_ = other.cfg.tree()
	must(t, other.up())
	defer func() { must1(Down(&other.cfg))(t) }()
	must(t, linkUpdate(h.pinned(linkDir, name), other.pinned(progDir, nicProgram)))
	want := other.record().Progs[nicProgram]
	s := h.status()
	if !slices.ContainsFunc(s.Foreign, func(f Foreign) bool {
		return f.Hook == "xdp" && f.ID == want && strings.Contains(f.Target, "eth0 of "+path) && f.Name == nicProgram
	}) {
		t.Errorf("foreign %+v, want program %d", s.Foreign, want)
	}
}

func TestStatusTellsProcessesOutsideOfTheCgroup(t *testing.T) {
	eachMode(t, func(t *testing.T, h *host) {
		must(t, h.up())
		path := newPod(t, "10.1.2.3/24")
		h.enroll(path)
		var cmd *exec.Cmd
		must(t, insideOf(path, func() error {
			cmd = exec.Command("sleep", "1000")
			return cmd.Start()
		}))
		defer func() {
			must(t, cmd.Process.Kill())
			if err := cmd.Wait(); err == nil {
				t.Error("a killed process ended well")
			}
		}()
		pid := strconv.Itoa(cmd.Process.Pid)
		o := h.status().Outside
		if o == nil || o.Count != 1 || len(o.Examples) != 1 || !strings.HasPrefix(o.Examples[0], pid+" (sleep) in ") {
			t.Errorf("outside: %+v, want process %s", o, pid)
		}
		move := func(to string) { must(t, os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte(pid), 0)) }
		move(h.cfg.Cgroup2Path)
		if o := h.status().Outside; o != nil {
			t.Errorf("outside: %+v, want none", o)
		}
		h.cfg.Settings.ManageAll = true
		must(t, h.up())
		if o := h.status().Outside; o == nil || o.Count < 2 {
			t.Errorf("outside under --manage all: %+v", o)
		}
		move(filepath.Dir(h.cfg.Cgroup2Path))
	})
}

func TestStatusTellsPinsWithoutAnOwner(t *testing.T) {
	eachMode(t, func(t *testing.T, h *host) {
		must(t, h.up())
		m := h.pinned(mapDir, "km_config")
		want := []string{filepath.Join(h.t_.top(), "stranger"), filepath.Join(h.t_.root(), "stranger"), h.t_.pin(mapDir, "stranger")}
		for _, p := range want {
			must(t, pinPut(m, p))
		}
		must(t, pinPut(h.pinned(progDir, "sockconn4"), h.t_.pin(progDir, "sockconn4_7")))
		s := h.status()
		if !slices.Equal(s.Unowned, want) {
			t.Errorf("unowned %q, want %q", s.Unowned, want)
		}
		if len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "sockconn4_7") {
			t.Errorf("problems %q", s.Problems)
		}
		for _, p := range want {
			must(t, os.Remove(p))
		}
		must(t, h.up())
		h.nothingAround()
	})
}

func TestStatusTellsWhatNoPinHolds(t *testing.T) {
	eachMode(t, func(t *testing.T, h *host) {
		must(t, h.up())
		link := must1(pinGet(h.t_.pin(linkDir, "sockconn4")))(t)
		old := h.pinned(progDir, "sockconn4")
		id := must1(progInfoOf(old))(t).ID
		must(t, os.Remove(h.t_.pin(linkDir, "sockconn4")))
		h.anotherBuild()
		must(t, h.up())
		must(t, linkDetach(link))
		s := h.status()
		want := Unpinned{"program", id, "sockconn4"}
		if !slices.Contains(s.Unpinned, want) {
			t.Errorf("unpinned %+v, want %+v", s.Unpinned, want)
		}
		must(t, unix.Close(link))
	})
}

// Beside a live run an up does nothing: the remedy is the run's.
func TestStatusNamesTheRemedyThatHelps(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	if r := h.status().Remedy; r != "run: kmesh-node --mode ads up" {
		t.Errorf("remedy %q", r)
	}
	cfg := h.cfg
	cfg.Stay = true
	l := NewBpfLoader(&cfg)
	must(t, l.Start(t.Context()))
	defer l.Stop()
	pid := strconv.Itoa(os.Getpid())
	if s := h.status(); s.Run != pid || !strings.HasSuffix(s.Remedy, "kill -HUP "+pid) {
		t.Errorf("run %q, remedy %q", s.Run, s.Remedy)
	}
}
