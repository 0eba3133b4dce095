// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

func TestUndoGoesBackwardsAndAttemptsEverything(t *testing.T) {
	var u undo
	var did []string
	for _, s := range []string{"a", "b", "c"} {
		u.push("step "+s, func() error {
			did = append(did, s)
			if s == "a" {
				return nil
			}
			return errors.New("no " + s)
		})
	}
	err := u.unwind()
	if got := strings.Join(did, ""); got != "cba" {
		t.Errorf("order %q", got)
	}
	if err == nil || err.Error() != "step c: no c\nstep b: no b" {
		t.Errorf("error %v", err)
	}
	if err := u.unwind(); err != nil {
		t.Errorf("a second unwind did something: %v", err)
	}
}

var steps = []string{"mount", "record", "load", "pin", "tail", "settings", "attach", "store", "commit"}

// eachMode runs do as a test for each mode.
func eachMode(t *testing.T, do func(*testing.T, *host)) {
	for _, m := range modes {
		t.Run(string(m), func(t *testing.T) {
			h := newHost(t)
			h.setMode(m)
			do(t, h)
		})
	}
}

func TestAFailedFirstUpLeavesNothing(t *testing.T) {
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			eachMode(t, func(t *testing.T, h *host) {
				t.Setenv("KMESH_NODE_FAULT", step)
				if err := h.up(); !errors.Is(err, errFault) {
					t.Fatalf("up: %v", err)
				}
				h.empty()
			})
		})
	}
}

func TestAFailedUpLeavesWhatWasThere(t *testing.T) {
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			eachMode(t, func(t *testing.T, h *host) {
				must(t, h.up())
				cookie := h.enroll(newPod(t, "10.1.2.3/24"))
				before, pins, config := h.record(), h.pins(), h.config()
				h.anotherBuild()
				h.cfg.Settings.ManageAll = true
				h.cfg.PolicySlots *= 2
				h.cfg.Workload.NodeName = "another"
				t.Setenv("KMESH_NODE_FAULT", step)
				if err := h.up(); !errors.Is(err, errFault) {
					t.Fatalf("up: %v", err)
				}
				if after := h.record(); !after.same(before) {
					t.Errorf("record %+v, was %+v", after, before)
				}
				if after := h.pins(); after != pins {
					t.Errorf("pins:\n%s\nwere:\n%s", after, pins)
				}
				if after := h.config(); after != config {
					t.Errorf("settings %+v, were %+v", after, config)
				}
				if l := h.enrolled(); len(l) != 1 || l[0] != cookie {
					t.Errorf("enrolled: %v, want %d", l, cookie)
				}
				h.noProblem()
			})
		})
	}
}

func TestUpRepairsWhatAKilledOneLeft(t *testing.T) {
	for _, from := range []string{"nothing", "another build"} {
		for _, step := range steps {
			t.Run(from+"/"+step, func(t *testing.T) {
				eachMode(t, func(t *testing.T, h *host) { repairs(t, h, from, step) })
			})
		}
	}
}

func repairs(t *testing.T, h *host, from, step string) {
	if from == "another build" {
		h.anotherBuild()
		must(t, h.up())
		h.enroll(newPod(t, "10.1.2.3/24"))
		h.firstBuild()
	}
	h.upKilled(step)
	switch s, err := GetStatus(&h.cfg); {
	case err == nil && from == "nothing" && len(s.Problems) == 0:
		t.Error("status finds nothing wrong")
	case err != nil && (from != "nothing" || exit.Code(err) != exit.NotUp):
		t.Error(err)
	}
	must(t, h.up())
	h.noProblem()
	h.upAgainChangesNothing()
	for _, d := range pinDirs {
		for _, e := range must1(os.ReadDir(h.t_.dir(d)))(t) {
			if _, prepared := baseName(e.Name()); prepared {
				t.Errorf("%s is left", e.Name())
			}
		}
	}
	must1(Down(&h.cfg))(t)
	h.empty()
}

func TestDownRemovesWhatAKilledUpLeft(t *testing.T) {
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			eachMode(t, func(t *testing.T, h *host) {
				h.upKilled(step)
				must1(Down(&h.cfg))(t)
				h.empty()
				must1(Down(&h.cfg))(t)
			})
		})
	}
}

func TestARejectedProgramShowsTheEndOfTheLogAndKeepsAllOfIt(t *testing.T) {
	h := newHost(t)
	src := fstest.MapFS{}
	for _, o := range objects(Ads, programsOf(Ads)) {
		src[o+".bpf.o"] = &fstest.MapFile{Data: must1(os.ReadFile(filepath.Join(objectsDir(), o+".bpf.o")))(t)}
	}
	src["sockops.bpf.o"] = &fstest.MapFile{Data: badObject(t, src["sockops.bpf.o"].Data)}
	h.cfg.Objects = src
	err := h.up()
	wantError(t, err, exit.Load, "sock_ops", "rejected")
	var v *VerifierError
	if !errors.As(err, &v) || len(v.Tail) == 0 || len(v.Tail) > tailLines {
		t.Fatalf("error %#v", err)
	}
	whole := string(must1(os.ReadFile(v.File))(t))
	if !strings.Contains(whole, v.Tail[len(v.Tail)-1]) || strings.Count(whole, "\n") < len(v.Tail) {
		t.Errorf("the file has %q", whole)
	}
	must(t, os.Remove(v.File))
	must(t, os.Remove(h.cfg.RunDir))
	h.empty()
}

func TestUpOnWrongPaths(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir string) (path string)
		want string
	}{
		{"a file", func(t *testing.T, dir string) string {
			p := filepath.Join(dir, "file")
			must(t, os.WriteFile(p, nil, 0o600))
			return p
		}, "not a directory"},
		{"under a file", func(t *testing.T, dir string) string {
			must(t, os.WriteFile(filepath.Join(dir, "file2"), nil, 0o600))
			return filepath.Join(dir, "file2", "x")
		}, "not a directory"},
		{"another filesystem", func(t *testing.T, dir string) string {
			p := filepath.Join(dir, "tmpfs")
			must(t, os.Mkdir(p, 0o700))
			must(t, unix.Mount("test", p, "tmpfs", 0, ""))
			t.Cleanup(func() { must(t, unix.Unmount(p, 0)) })
			return p
		}, "another filesystem is mounted there: tmpfs"},
		{"with something in it", func(t *testing.T, dir string) string {
			p := filepath.Join(dir, "used")
			must(t, os.Mkdir(p, 0o700))
			must(t, os.WriteFile(filepath.Join(p, "fstab"), nil, 0o600))
			return p
		}, "it is not empty: fstab is in it"},
		{"relative", func(*testing.T, string) string { return "x/y" }, "not an absolute path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			bad := c.make(t, t.TempDir())
			good := h.cfg.Cgroup2Path
			h.cfg.Cgroup2Path = bad
			wantError(t, h.up(), exit.NotReady, bad, c.want, "--cgroup2-path")
			h.empty()
			h.cfg.Cgroup2Path, h.cfg.BpfFsPath = good, bad
			wantError(t, h.up(), exit.NotReady, bad, c.want, "--bpf-fs-path")
		})
	}
}
