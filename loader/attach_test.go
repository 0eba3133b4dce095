// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// One test for each state that `up` may find; what each guards is in its name.

func TestUpOnACleanHostAttachesAndPinsEverything(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	s := h.status()
	if len(s.Problems) > 0 {
		t.Error(s.Problems)
	}
	rows := wanted(Ads, variantSockState)
	if len(s.Programs) != len(rows) || len(s.Maps) != len(mapsOf(Ads)) {
		t.Errorf("%d programs and %d maps, want %d and %d", len(s.Programs), len(s.Maps), len(rows), len(mapsOf(Ads)))
	}
	want := []string{"sock_state", "sock_ops", "sockconn4", "sockconn6"}
	if got := strings.Join(h.links(), " "); got != strings.Join(want, " ") {
		t.Errorf("links %q, want %q", got, want)
	}
	must(t, h.cfgHandles(func(hd *Handles) error { return nil }))
}

func TestUpAgainChangesNothing(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	before := h.record()
	must(t, h.up())
	if after := h.record(); !after.same(before) {
		t.Errorf("record changed: %+v, was %+v", after, before)
	}
	if !strings.Contains(h.log.String(), "nothing to change") {
		t.Error("the second up changed something")
	}
}

func TestUpOfAnotherBuildUpdatesLinksInPlace(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	before := h.record()
	h.cfg.ConnectRet = ConnectRetOff // another set of programs is another build
	must(t, h.up())
	after := h.record()
	for _, name := range []string{"sock_ops", "sockconn4", "sockconn6"} {
		if before.Links[name] != after.Links[name] {
			t.Errorf("link %s was made anew", name)
		}
		if before.Progs[name] == after.Progs[name] {
			t.Errorf("program %s was not replaced", name)
		}
	}
	for _, m := range mapsOf(Ads) {
		if same := before.Maps[m.name] == after.Maps[m.name]; same == m.perLoad {
			t.Errorf("map %s: kept %v, want %v", m.name, same, !m.perLoad)
		}
	}
	h.noPin(linkDir, "sock_state")
	h.noPin(progDir, "sock_state")
	if p := h.status().Problems; len(p) > 0 {
		t.Error(p)
	}
}

func TestUpRepairsALostPin(t *testing.T) {
	for _, c := range []struct {
		dir  dir
		name string
		keep bool // the object lives on without its pin, so it is adopted
	}{
		{mapDir, "km_netns", true},
		{mapDir, "km_tail4", false},
		{progDir, "cluster4", true},
		{linkDir, "sockconn6", false},
		{linkDir, "sock_state", false},
	} {
		t.Run(string(c.dir)+"/"+c.name, func(t *testing.T) {
			h := newHost(t)
			must(t, h.up())
			ids := func() uint32 {
				return h.record().ids(c.dir)[c.name]
			}
			before := ids()
			must(t, os.Remove(h.t_.pin(c.dir, c.name)))
			must(t, h.up())
			if kept := ids() == before; kept != c.keep && c.keep {
				t.Errorf("id %d, was %d", ids(), before)
			}
			if p := h.status().Problems; len(p) > 0 {
				t.Error(p)
			}
			must(t, h.up())
			if !strings.Contains(h.log.String(), "nothing to change") {
				t.Error("one up did not repair everything")
			}
		})
	}
}

func TestUpAfterItsCgroupVanished(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	old := h.record()
	must(t, os.Remove(h.cfg.Cgroup2Path))
	// The kernel lets go of a removed cgroup in its own time.
	detached := func() (n int) {
		for _, p := range h.status().Problems {
			if strings.HasPrefix(p, "link ") {
				n++
			}
		}
		return n
	}
	for i := 0; detached() != 3; i++ {
		if i == 500 {
			t.Fatalf("problems %q, want each of three links", h.status().Problems)
		}
		time.Sleep(10 * time.Millisecond)
	}
	must(t, os.Mkdir(h.cfg.Cgroup2Path, 0o755))
	must(t, h.up())
	for _, name := range []string{"sock_ops", "sockconn4", "sockconn6"} {
		if h.record().Links[name] == old.Links[name] {
			t.Errorf("link %s still is the dead one", name)
		}
	}
	if p := h.status().Problems; len(p) > 0 {
		t.Error(p)
	}
}

func TestUpMovesToAnotherCgroup(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	old := h.cfg.Cgroup2Path
	h.cfg.Cgroup2Path = filepath.Join(old, "child")
	must(t, os.Mkdir(h.cfg.Cgroup2Path, 0o755))
	t.Cleanup(func() { must(t, os.Remove(filepath.Join(old, "child"))) })
	must(t, h.up())
	cg := must1(openCgroup(h.cfg.Cgroup2Path))(t)
	must(t, unix.Close(cg.fd))
	for _, name := range []string{"sock_ops", "sockconn4", "sockconn6"} {
		fd := must1(pinGet(h.t_.pin(linkDir, name)))(t)
		info := must1(linkInfoOf(fd))(t)
		must(t, unix.Close(fd))
		if info.Cgroup != cg.id {
			t.Errorf("link %s is on cgroup %d, want %d", name, info.Cgroup, cg.id)
		}
	}
}

func TestUpBesideAStrangersProgram(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	prog := must1(pinGet(h.t_.pin(progDir, "sockconn4")))(t)
	cg := must1(openCgroup(h.cfg.Cgroup2Path))(t)
	stranger := must1(linkCreate(prog, cg.fd, cgroupConnect4))(t)
	defer func() {
		for _, fd := range []int{prog, cg.fd, stranger} {
			must(t, unix.Close(fd))
		}
	}()
	id := must1(linkInfoOf(stranger))(t).ID
	must(t, h.up())
	must1(Down(&h.cfg))(t)
	if after, err := linkInfoOf(stranger); err != nil || after.ID != id || after.Cgroup != cg.id {
		t.Errorf("the stranger's link is %+v, %v", after, err)
	}
}

func TestAStrangerWhoHoldsTheHookAloneIsNamed(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	prog := must1(pinGet(h.t_.pin(progDir, "sockconn4")))(t)
	must1(Down(&h.cfg))(t)
	cg := must1(openCgroup(h.cfg.Cgroup2Path))(t)
	must(t, attachAlone(prog, cg.fd, cgroupConnect4))
	err := h.up()
	must(t, detachAlone(prog, cg.fd, cgroupConnect4))
	must(t, errors.Join(unix.Close(prog), unix.Close(cg.fd)))
	wantError(t, err, exit.Attach, "sockconn4", "bpftool cgroup tree")
	h.empty()
}

func TestAForeignPinIsLeftAndNamed(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	fd := must1(mapCreate("another", mapTypeArray, 4, 4, 1, 0))(t)
	foreign := h.t_.pin(mapDir, "another")
	must(t, pinPut(fd, foreign))
	must(t, unix.Close(fd))
	must(t, h.up())
	_, err := Down(&h.cfg)
	wantError(t, err, exit.NotReady, foreign)
	if _, err := os.Stat(foreign); err != nil {
		t.Error(err)
	}
	h.noPin(linkDir, "sockconn4")
	must(t, os.Remove(foreign))
	must1(Down(&h.cfg))(t)
	h.empty()
}

func TestAnObjectOfAnotherKindInAPinsPlaceIsRefused(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	must1(Down(&h.cfg))(t)
	must(t, unix.Mount("test", must1(h.cfg.BpfFsPath, os.MkdirAll(h.cfg.BpfFsPath, 0o755))(t), "bpf", 0, ""))
	for _, d := range h.t_.directories() {
		must(t, os.Mkdir(d, 0o700))
	}
	fd := must1(mapCreate("another", mapTypeArray, 4, 4, 1, 0))(t)
	must(t, pinPut(fd, h.t_.pin(linkDir, "sockconn4")))
	must(t, unix.Close(fd))
	wantError(t, h.up(), exit.Attach, "a map is pinned there")
}

func TestAMapOfAnotherLayoutIsRefused(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	before := h.record()
	pin := h.t_.pin(mapDir, "km_conn")
	must(t, os.Remove(pin))
	fd := must1(mapCreate("km_conn", mapTypeArray, 4, 8, 1, 0))(t)
	must(t, pinPut(fd, pin))
	must(t, unix.Close(fd))
	wantError(t, h.up(), exit.Load, "km_conn", "another layout", "kmesh-node down")
	if after := h.record(); !after.same(before) {
		t.Error("a refused up changed the record")
	}
}
