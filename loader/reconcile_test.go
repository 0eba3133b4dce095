// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// stay comes up as `run` does, until the test ends.
func (h *host) stay() *BpfLoader {
	h.t.Helper()
	cfg := h.cfg
	cfg.Stay = true
	l := NewBpfLoader(&cfg)
	must(h.t, l.Start(context.Background()))
	h.t.Cleanup(l.Stop)
	return l
}

// healed reconciles, which must say each of the words, and then finds nothing more.
func (h *host) healed(l *BpfLoader, words ...string) {
	h.t.Helper()
	did := strings.Join(must1(l.Reconcile(context.Background()))(h.t), "\n")
	for _, w := range words {
		if !strings.Contains(did, w) {
			h.t.Errorf("reconcile did not say %q:\n%s", w, did)
		}
	}
	h.noProblem()
	if again := must1(l.Reconcile(context.Background()))(h.t); len(again) > 0 {
		h.t.Errorf("reconcile again: %q", again)
	}
}

func TestReconcilePutsBackWhatStrangersTookAway(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			h := newHost(t)
			h.setMode(mode)
			l := h.stay()
			h.healed(l)
			for _, c := range []struct {
				name   string
				only   Mode
				damage func() error
				says   string
				same   bool // nothing was loaded or attached anew
			}{
				{"a detached link", "", func() error { return linkDetach(h.pinned(linkDir, "sockconn4")) }, "sockconn4", false},
				{"a link without its pin", "", func() error { return os.Remove(h.t_.pin(linkDir, "sock_ops")) }, "sock_ops", true},
				{"a map without its pin", "", func() error { return os.Remove(h.t_.pin(mapDir, "km_netns")) }, "km_netns", true},
				{"a program without its pin", "", func() error { return os.Remove(h.t_.pin(progDir, "sockconn6")) }, "sockconn6", true},
				{"no record", "", func() error { return os.Remove(h.t_.meta()) }, "meta", true},
				{"no bpffs", "", func() error { return unix.Unmount(h.cfg.BpfFsPath, 0) }, "mounted", true},
				{"other settings", "", func() error {
					return mapUpdate(h.pinned(mapDir, "km_config"), uint32(0), kmConfig{})
				}, "settings", true},
				{"an empty slot of a prog array", Ads, func() error {
					return mapDelete(h.pinned(mapDir, "km_tail4"), uint32(1))
				}, "tail call", false},
				{"another's program in a link", Ads, func() error {
					return linkUpdate(h.pinned(linkDir, "sockconn4"), h.pinned(progDir, "restart4"))
				}, "sockconn4", true},
			} {
				if c.only != "" && c.only != mode {
					continue
				}
				pins := h.pins()
				if err := c.damage(); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				h.healed(l, c.says)
				if now := h.pins(); (now == pins) != c.same {
					t.Errorf("%s: pins before and after:\n%s%s", c.name, pins, now)
				}
			}
			l.Stop()
			must1(Down(&h.cfg))(t)
			// Mounted again, the directory is no longer one that was made for it.
			if err := os.Remove(h.cfg.BpfFsPath); err != nil {
				t.Error(err)
			}
			h.empty()
		})
	}
}

func TestReconcileSeesToPods(t *testing.T) {
	h := newWorkloadHost(t)
	l := h.stay()
	path := newPod(t, "10.1.2.3/24")
	cookie := must1(cookieAt(path))(t)
	must(t, h.cfgHandles(func(hd *Handles) error { // as the control address does
		return errors.Join(mapUpdate(hd.FD("km_netns"), cookie, newKmNetns(1)), hd.slotAdd(cookie))
	}))
	h.healed(l, "attached: xdpauth", path)
	link := h.nicLinks(cookie)[0]
	must(t, os.Remove(h.t_.pin(linkDir, link)))
	h.healed(l, link)
	must(t, linkDetach(h.pinned(linkDir, link)))
	h.healed(l, "attached: xdpauth", path)
	ip(t, path, "link", "del", "eth0")
	ip(t, path, "link", "add", "eth7", "type", "veth", "peer", "name", "peer7")
	h.healed(l, "attached: xdpauth", "eth7", "removed: link "+link)
	must(t, h.cfgHandles(func(hd *Handles) error { return hd.UnenrollCookie(cookie) }))
	h.healed(l)
	if l := h.nicLinks(cookie); len(l) != 0 {
		t.Errorf("links of a pod that was unenrolled: %q", l)
	}
}

func TestReconcileForgetsANamespaceThatIsGone(t *testing.T) {
	h := newWorkloadHost(t)
	l := h.stay()
	path := newPod(t, "10.1.2.3/24")
	cookie := h.enroll(path)
	h.healed(l)
	must(t, unix.Unmount(path, unix.MNT_DETACH))
	t.Cleanup(func() { must(t, unix.Mount("/proc/self/ns/net", path, "", unix.MS_BIND, "")) }) // for newNetns
	waitFor(t, "the namespace to be forgotten", func() bool {
		must1(l.Reconcile(context.Background()))(t)
		return len(h.enrolled()) == 0 && len(h.nicLinks(cookie)) == 0
	})
	h.healed(l)
}

func TestReconcileLeavesTheFieldToAnother(t *testing.T) {
	h := newHost(t)
	l := h.stay()
	other := must1(takeLock(h.cfg.RunDir, lockName(h.cfg.BpfFsPath, ".lock")))(t)
	must(t, linkDetach(h.pinned(linkDir, "sockconn4")))
	if did, err := l.Reconcile(context.Background()); len(did) > 0 || err != nil {
		t.Errorf("beside another: %q, %v", did, err)
	}
	must(t, other.release())
	h.healed(l, "sockconn4")
}

func TestARepairThatFailsLeavesWhatIsThere(t *testing.T) {
	h := newHost(t)
	l := h.stay()
	must(t, linkDetach(h.pinned(linkDir, "sockconn4")))
	pins := h.pins()
	t.Setenv("KMESH_NODE_FAULT", "commit")
	_, err := l.Reconcile(context.Background())
	wantError(t, err, exit.Attach, "commit")
	if h.pins() != pins {
		t.Errorf("pins before and after:\n%s%s", pins, h.pins())
	}
	t.Setenv("KMESH_NODE_FAULT", "")
	h.healed(l, "sockconn4")
}

func TestAnotherRunIsRefusedAfterARepairToo(t *testing.T) {
	h := newHost(t)
	l := h.stay()
	must(t, linkDetach(h.pinned(linkDir, "sockconn4")))
	h.healed(l, "sockconn4")
	cfg := h.cfg
	cfg.Stay = true
	wantError(t, NewBpfLoader(&cfg).Start(context.Background()), exit.Locked, "run")
	_, err := Down(&h.cfg)
	wantError(t, err, exit.Locked)
	must(t, h.up()) // of the same build: it changes nothing
	l.Stop()
	must1(Down(&h.cfg))(t)
	h.empty()
}

func TestReconcileNeedsALiveRun(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	if _, err := NewBpfLoader(&h.cfg).Reconcile(context.Background()); err == nil {
		t.Error("reconcile without a run has no error")
	}
}

func TestARunHoldsNoMoreThanOneOfEach(t *testing.T) {
	h := newWorkloadHost(t)
	l := h.stay()
	before := openFiles(t)
	for range 3 {
		must(t, linkDetach(h.pinned(linkDir, "sockconn4")))
		h.healed(l, "sockconn4")
	}
	// Those that pinned opened are the test's own.
	if now := openFiles(t); now != before+3 {
		t.Errorf("%d descriptors, %d before three repairs", now-3, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	return len(must1(os.ReadDir("/proc/self/fd"))(t))
}

func TestReconcileFollowsTheNodesOwnAddresses(t *testing.T) {
	h := newWorkloadHost(t)
	l := h.stay()
	h.healed(l)
	l.hosts = []netip.Addr{netip.MustParseAddr("192.0.2.1")} // as if it had been so
	h.healed(l, "addresses of the node")
}
