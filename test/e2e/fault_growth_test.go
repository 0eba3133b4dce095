// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// cycles is how often what must not grow is done, in each mode.
const cycles = 50

func TestFaultUpAndDownDoNotGrow(t *testing.T) {
	for _, mode := range faultModes {
		t.Run(mode, func(t *testing.T) {
			s := newFaultSite(t, mode)
			s.ready()
			pinned, locked := named(s.state()), s.memlock()
			s.want(exitDone, "down")
			clean := settled(t)
			for i := range cycles {
				if i%5 == 0 { // with all that there is, too
					s.ready()
					if diff := changes(pinned, named(s.state())); diff != "" {
						t.Fatalf("up after down:\n%s", diff)
					}
				} else {
					s.up(s.flags[0]...)
				}
				if now := s.memlock(); now != locked {
					t.Fatalf("maps take %d bytes, took %d", now, locked)
				}
				s.want(exitDone, "down")
			}
			if err := clean.unchanged(); err != nil {
				t.Errorf("after %d times up and down:\n%v", cycles, err)
			}
			report("`up` and `down`, over and over", cycles)
		})
	}
}

// memlock is the memory of the pinned arrays: other maps are as full as connections
// leave them.
func (s *faultSite) memlock() (sum int) {
	const array = "2" // BPF_MAP_TYPE_ARRAY
	s.t.Helper()
	for pin := range s.pinIDs() {
		fd, err := openPin(filepath.Join(s.bpf, pin))
		if err != nil {
			s.t.Fatal(err)
		}
		info, err := fdinfo(fd)
		closeErr := os.NewFile(uintptr(fd), pin).Close()
		if err != nil || closeErr != nil {
			s.t.Fatal(err, closeErr)
		}
		if n, err := strconv.Atoi(info["memlock"]); err == nil && info["map_type"] == array {
			sum += n
		}
	}
	return sum
}

// A live run repairs, over and over, and keeps neither descriptors nor memory of it.
func TestFaultRunThatRepairsDoesNotGrow(t *testing.T) {
	damaged(t, func(s *faultSite) {
		d := s.serve("--reconcile-interval", "100ms")
		proc := fmt.Sprintf("/proc/%d", d.cmd.Process.Pid)
		l := s.pod.connects(vipA)
		link := filepath.Join(s.bpf, "kmesh_node", s.mode, "link", "sockconn4")
		heal := func() {
			if err := eventually(func() error { return detachLink(link) }); err != nil {
				s.t.Fatal(err)
			}
			if err := eventually(func() error {
				if got := s.c.spread(vipA, 1); !maps.Equal(got, counts{s.endpoints[0]: 1}) {
					return fmt.Errorf("a connection went%v", got)
				}
				return nil
			}); err != nil {
				s.t.Fatalf("run did not repair: %v", err)
			}
		}
		for range 3 {
			heal()
		}
		fds, rss := descriptors(s.t, proc), resident(s.t, proc)
		for range cycles {
			heal()
		}
		// A turn of its own may be under way.
		if err := eventually(func() error {
			if now := descriptors(s.t, proc); now > fds {
				return fmt.Errorf("%d descriptors, were %d", now, fds)
			}
			return nil
		}); err != nil {
			s.t.Error(err)
		}
		if now := resident(s.t, proc); now > rss+16<<10 {
			s.t.Errorf("%d KiB of memory, were %d", now, rss)
		}
		l.onlyTo(s.t, s.endpoints[0], vipA)
		d.stop(exitDone)
		report("`run` repairs a link, over and over", cycles)
	})
}

func descriptors(t testing.TB, proc string) int {
	t.Helper()
	l, err := os.ReadDir(proc + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(l)
}

// resident is the memory of a process in KiB.
func resident(t testing.TB, proc string) int {
	t.Helper()
	data, err := os.ReadFile(proc + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(v, "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s/status has no VmRSS", proc)
	return 0
}
