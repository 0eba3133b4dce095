// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// whereUp runs do as a test for each mode, on a host where it is up.
func whereUp(t *testing.T, do func(*testing.T, *host)) {
	eachMode(t, func(t *testing.T, h *host) {
		must(t, h.up())
		do(t, h)
		must1(Down(&h.cfg))(t)
	})
}

// noScratch asks that no cgroup of a self-test is left.
func (h *host) noScratch() {
	h.t.Helper()
	if left := must1(filepath.Glob(filepath.Join(h.cfg.Cgroup2Path, scratchPrefix+"*")))(h.t); len(left) > 0 {
		h.t.Errorf("left: %v", left)
	}
}

func TestSelfTestLeavesNothingAlsoBesideOthers(t *testing.T) {
	whereUp(t, func(t *testing.T, h *host) {
		before := h.pins()
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = SelfTest(&h.cfg) })
		}
		wg.Wait()
		for _, err := range errs {
			must(t, err)
		}
		h.noScratch()
		if after := h.pins(); after != before {
			t.Errorf("pins before and after:\n%s\n%s", before, after)
		}
	})
}

func TestSelfTestNamesTheProgramThatDoesNotRun(t *testing.T) {
	whereUp(t, func(t *testing.T, h *host) {
		for _, name := range []string{"sock_ops", "sockconn4", "sockconn6"} {
			fd := must1(pinGet(h.t_.pin(linkDir, name)))(t)
			must(t, linkDetach(fd))
			must(t, unix.Close(fd))
			wantError(t, SelfTest(&h.cfg), exit.Load, "self-test: "+name, "below "+h.cfg.Cgroup2Path)
			must(t, h.up())
		}
		if h.cfg.Mode == Ads {
			must(t, os.Remove(h.t_.pin(linkDir, "sock_state")))
			err := SelfTest(&h.cfg)
			for range 1000 { // the kernel takes the program off in its own time
				if err != nil {
					break
				}
				err = SelfTest(&h.cfg)
			}
			wantError(t, err, exit.Load, "self-test: sock_state", "was not run")
		}
		h.noScratch()
	})
}

// Another build's programs cannot be tried beforehand there, but once they are attached.
func TestSelfTestWithoutACgroupOfItsOwn(t *testing.T) {
	whereUp(t, func(t *testing.T, h *host) {
		must(t, os.WriteFile(filepath.Join(h.cfg.Cgroup2Path, "cgroup.max.descendants"), []byte("0"), 0))
		must(t, SelfTest(&h.cfg))
		h.anotherBuild()
		must(t, h.up())
		for _, words := range []string{"no scratch cgroup", "phase SelfTest"} {
			if !strings.Contains(h.log.String(), words) {
				t.Errorf("up does not say %q", words)
			}
		}
	})
}

// As without IPv6: its address cannot be listened at.
func TestSelfTestWithoutIPv6(t *testing.T) {
	was := loopbacks[1]
	loopbacks[1] = netip.MustParseAddr("2001:db8::9")
	defer func() { loopbacks[1] = was }()
	whereUp(t, func(t *testing.T, h *host) {
		must(t, SelfTest(&h.cfg))
		h.anotherBuild()
		must(t, h.up())
		h.firstBuild()
	})
}

func TestScratchCgroupsThatAreInUseStay(t *testing.T) {
	h := newHost(t)
	used := must1(makeScratchCgroup(h.cfg.Cgroup2Path))(t)
	left := filepath.Join(h.cfg.Cgroup2Path, scratchPrefix+"1")
	must(t, os.Mkdir(left, 0o700))
	must(t, h.up())
	if _, err := os.Stat(left); err == nil {
		t.Error("one that was left behind is there after up")
	}
	if _, err := os.Stat(used.path); err != nil {
		t.Errorf("one in use is gone: %v", err)
	}
	must(t, used.remove())
	must(t, os.Mkdir(left, 0o700))
	must1(Down(&h.cfg))(t)
	h.noScratch()
}

func TestSelfTestKeepsOffPortsThatAreConfigured(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	must(t, h.cfgHandles(func(hd *Handles) error {
		first := must1(freePorts(hd))(t)
		var p kmPorts
		p.wildcard = ^p.wildcard
		must(t, mapUpdate(hd.fds["km_ports"], uint32(first.plain)/64, p))
		next := must1(freePorts(hd))(t)
		if next.plain/64 == first.plain/64 {
			t.Errorf("port %d, where port %d is configured and all around it", next.plain, first.plain)
		}
		return nil
	}))
	must(t, SelfTest(&h.cfg))
	must1(Down(&h.cfg))(t)
}
