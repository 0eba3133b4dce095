// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// runDir is where kmesh-node has its locks.
const runDir = "/run/kmesh-node"

// damaged brings everything up in each mode and hurts it while connections are made.
func damaged(t *testing.T, do func(s *faultSite)) {
	for _, mode := range faultModes {
		t.Run(mode, func(t *testing.T) {
			s := newFaultSite(t, mode)
			s.ready()
			do(s)
		})
	}
}

// sample leaves a few of a list, where not all are asked for.
func sample(l []string) []string {
	if faultRounds > 0 || len(l) < 8 {
		return l
	}
	var few []string
	for i := 0; i < len(l); i += len(l) / 4 {
		few = append(few, l[i])
	}
	return few
}

// linkPins are the pinned links.
func (s *faultSite) linkPins() []string {
	s.t.Helper()
	var l []string
	for pin := range s.pinIDs() {
		if strings.Contains(pin, "/link/") {
			l = append(l, pin)
		}
	}
	slices.Sort(l)
	return l
}

func TestFaultLinkDetached(t *testing.T) {
	damaged(t, func(s *faultSite) {
		tried := 0
		for _, pin := range s.linkPins() {
			l := s.pod.connects(vipA)
			err := detachLink(filepath.Join(s.bpf, pin))
			if errors.Is(err, unix.EOPNOTSUPP) {
				l.onlyTo(s.t, s.endpoints[0])
				continue // a link of a tracepoint is not detached, but by its end
			}
			if err != nil {
				s.t.Fatalf("detach %s: %v", pin, err)
			}
			s.up()
			l.onlyTo(s.t, s.endpoints[0], vipA)
			s.whole("detached by hand: "+pin, 0)
			tried++
		}
		report("a link is detached by hand", tried)
	})
}

func TestFaultPinDeleted(t *testing.T) {
	damaged(t, func(s *faultSite) {
		before := named(s.state())
		pins := sample(slices.Sorted(maps.Keys(s.pinIDs())))
		for _, pin := range pins {
			l := s.pod.connects(vipA)
			if err := os.Remove(filepath.Join(s.bpf, pin)); err != nil {
				s.t.Fatal(err)
			}
			s.up()
			// A link ends with its pin, and connections go as asked until up.
			if strings.Contains(pin, "/link/") {
				l.onlyTo(s.t, s.endpoints[0], vipA)
			} else {
				l.onlyTo(s.t, s.endpoints[0])
			}
			if pin = strings.TrimPrefix(pin, "kmesh_node/"); s.lost(pin) {
				s.want(exitDone, "apply", "-f", s.docs[0])
			}
			s.whole("deleted: "+pin, 0)
			if diff := changes(before, named(s.state())); diff != "" {
				s.t.Errorf("deleted %s, then up:\n%s", pin, diff)
			}
		}
		report("a pin is deleted by hand", len(pins))
	})
}

// lost says whether what is pinned there is gone with its pin, as no program holds it.
func (s *faultSite) lost(pin string) bool {
	return strings.HasSuffix(pin, "/map/km_res") || strings.HasSuffix(pin, "/map/km_wmeta")
}

func TestFaultWholeTreeDeleted(t *testing.T) {
	damaged(t, func(s *faultSite) {
		l := s.pod.connects(vipA)
		if err := os.RemoveAll(filepath.Join(s.bpf, "kmesh_node")); err != nil {
			s.t.Fatal(err)
		}
		s.ready()
		l.onlyTo(s.t, s.endpoints[0], vipA)
		report("the whole tree of pins is deleted by hand", 1)
	})
}

func TestFaultBpffsUnmounted(t *testing.T) {
	damaged(t, func(s *faultSite) {
		l := s.pod.connects(vipA)
		if err := unix.Unmount(s.bpf, unix.MNT_DETACH); err != nil {
			s.t.Fatal(err)
		}
		s.ready()
		l.onlyTo(s.t, s.endpoints[0], vipA)
		s.want(exitDone, "down")
		if err := unix.Mount("none", s.bpf, "bpf", 0, ""); err != nil {
			s.t.Fatal(err)
		}
		report("the bpffs is unmounted", 1)
	})
}

// A bpffs has no limit to fill: the kernel's answer is put in its place.
func TestFaultBpffsFull(t *testing.T) {
	damaged(t, func(s *faultSite) {
		before := s.state()
		l := s.pod.connects(vipA)
		in := injector{call: "bpf OBJ_PIN", every: true, errno: unix.ENOSPC}
		r := in.run(s.t, s.command(append([]string{"up"}, s.flags[1]...)...))
		refused(s.t, exitLoad, r, s.bpf, "no space left")
		l.onlyTo(s.t, s.endpoints[0])
		s.unharmed(r, "OBJ_PIN", before)
		upAgain(s)
		report("the bpffs is full", 1)
	})
}

func TestFaultRunDirectoryFullOrReadOnly(t *testing.T) {
	const dir = runDir
	damaged(t, func(s *faultSite) {
		for _, options := range []string{"nr_inodes=1", "size=4k", "ro"} {
			if err := unix.Mount("none", dir, "tmpfs", 0, strings.TrimPrefix(options, "ro")); err != nil {
				s.t.Fatal(err)
			}
			switch options {
			case "size=4k":
				if err := os.WriteFile(filepath.Join(dir, "full"), make([]byte, 4096), 0o600); err != nil {
					s.t.Fatal(err)
				}
			case "ro":
				if err := unix.Mount("none", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
					s.t.Fatal(err)
				}
			}
			l := s.pod.connects(vipA)
			for _, args := range [][]string{{"up"}, append([]string{"up"}, s.flags[1]...), {"apply", "-f", s.docs[0]},
				{"enroll", "--netns", s.server.path}, {"down"}} {
				// The lock of a publication holds nothing, and may fit.
				r := s.run(args...)
				if fits := args[0] == "apply" && r.code == exitDone; !fits && (r.code < exitNotReady || !contains(r.err, dir)) {
					s.t.Errorf("with %s: %v\nwant an error that names %s", options, r, dir)
				}
			}
			l.onlyTo(s.t, s.endpoints[0])
			s.whole("with "+options, 0)
			if err := unix.Unmount(dir, 0); err != nil {
				s.t.Fatal(err)
			}
			upAgain(s)
		}
		report("the directory of locks is full, or read-only", 3)
	})
}

// The verifier's log is for a file: here there is room for the lock alone.
func TestFaultNoRoomForTheVerifiersLog(t *testing.T) {
	damaged(t, func(s *faultSite) {
		before := s.state()
		l := s.pod.connects(vipA)
		if err := unix.Mount("none", runDir, "tmpfs", 0, "nr_inodes=2"); err != nil {
			s.t.Fatal(err)
		}
		in := injector{call: "bpf PROG_LOAD sockconn4", every: true, errno: unix.EINVAL}
		r := in.run(s.t, s.command(append([]string{"up"}, s.flags[1]...)...))
		refused(s.t, exitLoad, r, "sockconn4")
		l.onlyTo(s.t, s.endpoints[0])
		if err := unix.Unmount(runDir, 0); err != nil {
			s.t.Fatal(err)
		}
		s.unharmed(r, "PROG_LOAD", before)
		upAgain(s)
		report("the verifier rejects a program, and there is no room for its log", 1)
	})
}

// A pod goes at each system call of its enrolment.
func TestFaultPodDeletedWhileItIsEnrolled(t *testing.T) {
	damaged(t, func(s *faultSite) {
		p := s.net.pod(s.t, "10.1.0.77")
		all := injector{}
		wantExit(s.t, exitDone, all.run(s.t, s.command("enroll", "--netns", p.path)))
		s.want(exitDone, "unenroll", "--netns", p.path)
		calls := oneOfEach(callsOf(all.calls))
		l := s.pod.connects(vipA)
		tried := 0
		for _, call := range calls {
			name := "gone"
			run(s.t, "", "ip", "netns", "add", name)
			run(s.t, "", "ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
			in := injector{call: call.label, nth: call.nth, instead: func() error {
				return exec.Command("ip", "netns", "del", name).Run()
			}}
			r := in.run(s.t, s.command("enroll", "--netns", "/run/netns/"+name))
			if !in.done {
				run(s.t, "", "ip", "netns", "del", name)
				continue
			}
			tried++
			if !slices.Contains([]int{exitDone, exitNotReady, exitAttach, exitNotUp, exitUsage}, r.code) {
				s.t.Errorf("deleted at %s: %v", call, r)
			}
		}
		l.onlyTo(s.t, s.endpoints[0])
		upAgain(s)
		// The kernel takes its devices away when it finds the time, and not before.
		if err := eventually(func() error {
			s.up(s.flags[0]...)
			var enrolled []struct{ Cookie uint64 }
			if s.query(&enrolled, "get", "enrolled"); len(enrolled) != 2 {
				return fmt.Errorf("%d namespaces are enrolled after up, want 2: %v", len(enrolled), enrolled)
			}
			return nil
		}); err != nil {
			s.t.Error(err)
		}
		report("a pod is deleted while it is enrolled", tried)
	})
}

// A cgroup of its own goes, and comes back.
func TestFaultCgroupRemoved(t *testing.T) {
	for _, mode := range faultModes {
		t.Run(mode, func(t *testing.T) {
			s := newFaultSite(t, mode)
			child := filepath.Join(cgroupPath, "removed")
			makeCgroup := func() {
				if err := os.Mkdir(child, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			makeCgroup()
			t.Cleanup(func() {
				if err := os.Remove(child); err != nil {
					t.Error(err)
				}
			})
			s.cg = child
			within := func(do func()) {
				if err := moveTo(child); err != nil {
					t.Fatal(err)
				}
				do()
				if err := moveTo(cgroupPath); err != nil {
					t.Fatal(err)
				}
			}
			within(s.ready)
			if err := eventually(func() error { return os.Remove(child) }); err != nil {
				t.Fatal(err)
			}
			if got := s.c.spread(vipA, 3); got[vipA] != 3 {
				t.Errorf("without the cgroup connections went%v", got)
			}
			refused(t, exitNotReady, s.run("up"), child, "mkdir")
			makeCgroup()
			s.up()
			within(func() { s.whole("the cgroup is back", 0) })
			report("the cgroup is removed", 1)
		})
	}
}

// No program reads a clock that can be set: a jump of the time of day is not seen.
func TestFaultClockJumps(t *testing.T) {
	damaged(t, func(s *faultSite) {
		seen := 0
		for pin := range s.pinIDs() {
			if !strings.Contains(pin, "/prog/") {
				continue
			}
			out, err := exec.Command("bpftool", "prog", "dump", "xlated", "pinned", filepath.Join(s.bpf, pin)).Output()
			if err != nil {
				s.t.Fatalf("dump %s: %v", pin, err)
			}
			for _, line := range strings.Split(string(out), "\n") {
				if contains(line, "bpf_ktime_get_ns") || contains(line, "bpf_ktime_get_coarse_ns") || contains(line, "bpf_ktime_get_boot_ns") {
					seen++
				} else if contains(line, "call bpf_ktime") {
					s.t.Errorf("%s reads a clock that can be set: %s", pin, line)
				}
			}
		}
		if seen == 0 {
			s.t.Error("no program reads a clock: this test looks for the wrong thing")
		}
		report("the clock jumps (no program reads one that can be set)", 1)
	})
}
