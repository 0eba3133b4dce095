// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// newWorkloadHost is newHost for workload mode.
func newWorkloadHost(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	h.setMode(Workload)
	return h
}

func (h *host) setMode(m Mode) {
	h.cfg.Mode = m
	h.t_ = h.cfg.tree()
}

// newPod makes a network namespace with an Ethernet device eth0 and an address.
func newPod(t *testing.T, address string) string {
	t.Helper()
	path := newNetns(t)
	ip(t, path, "link", "add", "eth0", "type", "bridge")
	ip(t, path, "addr", "add", address, "dev", "eth0")
	return path
}

// ip runs the command of that name in the namespace at path.
func ip(t *testing.T, path string, args ...string) {
	t.Helper()
	must(t, insideOf(path, func() error {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return errors.Join(err, errors.New(string(out)))
		}
		return nil
	}))
}

func (h *host) enroll(path string) (cookie uint64) {
	h.t.Helper()
	must(h.t, h.cfgHandles(func(hd *Handles) (err error) {
		cookie, err = hd.Enroll(path, false)
		return err
	}))
	return cookie
}

// nicLinks lists the links on devices by cookie, dead ones too.
func (h *host) nicLinks(cookie uint64) []string {
	h.t.Helper()
	return must1(h.t_.nicLinks())(h.t)[cookie]
}

func (h *host) noProblem() {
	h.t.Helper()
	if p := h.status().Problems; len(p) > 0 {
		h.t.Errorf("problems: %q", p)
	}
}

func (h *host) upAgainChangesNothing() {
	h.t.Helper()
	must(h.t, h.up())
	if !strings.Contains(h.log.String(), "nothing to change") {
		h.t.Errorf("another up changed something:\n%s", h.log)
	}
}

func TestWorkloadUpOnACleanHostAttachesAndPinsEverything(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	h.noProblem()
	s := h.status()
	if len(s.Programs) != len(programsOf(Workload)) || len(s.Maps) != len(mapsOf(Workload)) {
		t.Errorf("%d programs and %d maps", len(s.Programs), len(s.Maps))
	}
	if got, want := strings.Join(h.links(), " "), "sendmsg sock_ops sockconn4 sockconn6"; got != want {
		t.Errorf("links %q, want %q", got, want)
	}
	h.upAgainChangesNothing()
	must1(Down(&h.cfg))(t)
	h.empty()
}

func TestEnrolmentAttachesToTheDevicesOfThePod(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newPod(t, "10.1.2.3/24")
	ip(t, path, "addr", "add", "fd00::3/64", "dev", "eth0", "nodad")
	cookie := h.enroll(path)
	if l := h.nicLinks(cookie); len(l) != 1 {
		t.Errorf("links %q", l)
	}
	must(t, h.cfgHandles(func(hd *Handles) error {
		var e kmNetns
		must(t, mapLookup(hd.FD("km_netns"), cookie, &e))
		v4, v6 := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd00::3")
		if e.n != 2 || e.ip[0] != inMap(v4) || e.ip[1] != inMap(v6) || e.flags != 0 {
			t.Errorf("entry %+v", e)
		}
		return nil
	}))
	h.noProblem()
	pins := h.pins()
	if h.enroll(path) != cookie || h.pins() != pins {
		t.Error("enrolled again, something changed")
	}
	h.upAgainChangesNothing()
	must(t, h.cfgHandles(func(hd *Handles) error {
		must1(hd.Unenroll(path))(t)
		_, err := hd.Unenroll(path)
		wantError(t, err, exit.NotUp, "not enrolled")
		return nil
	}))
	if l := h.nicLinks(cookie); len(l) != 0 {
		t.Errorf("links %q are left", l)
	}
	h.noProblem()
}

func TestAPodWithoutADeviceIsEnrolledAndSaidSo(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newNetns(t)
	cookie := h.enroll(path)
	if !strings.Contains(h.log.String(), "no Ethernet device") {
		t.Error("it was not said")
	}
	h.noProblem()
	ip(t, path, "link", "add", "eth0", "type", "bridge")
	if p := strings.Join(h.status().Problems, ""); !strings.Contains(p, "eth0") {
		t.Errorf("a device that is not judged is no problem: %q", p)
	}
	if h.enroll(path) != cookie || len(h.nicLinks(cookie)) != 1 {
		t.Error("the second enroll did not attach to the new device")
	}
	h.noProblem()
}

func TestUpAttachesToPodsThatWereEnrolledByOtherMeans(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newPod(t, "10.1.2.3/24")
	cookie := must1(cookieAt(path))(t)
	must(t, h.cfgHandles(func(hd *Handles) error { // as the control address does
		return mapUpdate(hd.FD("km_netns"), cookie, newKmNetns(1))
	}))
	if p := strings.Join(h.status().Problems, ""); !strings.Contains(p, "eth0") {
		t.Errorf("problems: %q", p)
	}
	must(t, h.up())
	if len(h.nicLinks(cookie)) != 1 {
		t.Error("nothing attached")
	}
	h.noProblem()
	h.upAgainChangesNothing()
}

func TestUpForgetsAPodThatIsGone(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newPod(t, "10.1.2.3/24")
	cookie := h.enroll(path)
	stays := h.enroll(newPod(t, "10.1.2.4/24"))
	must(t, unix.Unmount(path, unix.MNT_DETACH))
	t.Cleanup(func() { must(t, unix.Mount("/proc/self/ns/net", path, "", unix.MS_BIND, "")) }) // for newNetns
	waitFor(t, "the namespace to go", func() bool { return strings.Contains(strings.Join(h.status().Problems, ""), "is gone") })
	must(t, h.up())
	if l := h.nicLinks(cookie); len(l) != 0 {
		t.Errorf("links %q of the pod that is gone", l)
	}
	must(t, h.cfgHandles(func(hd *Handles) error {
		if l := must1(hd.Enrolled())(t); len(l) != 1 || l[0].Cookie != stays {
			t.Errorf("enrolled: %+v", l)
		}
		return nil
	}))
	h.noProblem()
	h.upAgainChangesNothing()
}

func TestADeviceThatWentIsForgottenAndItsSuccessorJudged(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newPod(t, "10.1.2.3/24")
	cookie := h.enroll(path)
	before := h.nicLinks(cookie)
	ip(t, path, "link", "del", "eth0")
	ip(t, path, "link", "add", "eth1", "type", "bridge")
	must(t, h.up())
	if l := h.nicLinks(cookie); len(l) != 1 || slices.Equal(l, before) {
		t.Errorf("links %q, were %q", l, before)
	}
	h.noProblem()
}

func TestWorkloadUpOfAnotherBuildUpdatesInPlace(t *testing.T) {
	for _, links := range []bool{true, false} {
		t.Run(map[bool]string{true: "link on a map", false: "legacy attach"}[links], func(t *testing.T) {
			h := newWorkloadHost(t)
			if !links {
				noSockMapLinks(t)
			}
			must(t, h.up())
			cookie := h.enroll(newPod(t, "10.1.2.3/24"))
			before, nics := h.record(), h.nicLinks(cookie)
			h.anotherBuild()
			must(t, h.up())
			h.noProblem()
			after := h.record()
			for _, r := range programsOf(Workload) {
				if before.Progs[r.name] == after.Progs[r.name] {
					t.Errorf("program %s was not replaced", r.name)
				}
				if before.Links[r.name] != after.Links[r.name] {
					t.Errorf("link %s was made anew", r.name)
				}
			}
			for _, m := range mapsOf(Workload) {
				if before.Maps[m.name] != after.Maps[m.name] {
					t.Errorf("map %s was replaced", m.name)
				}
			}
			if !slices.Equal(h.nicLinks(cookie), nics) {
				t.Errorf("links %q, were %q", h.nicLinks(cookie), nics)
			}
			must(t, h.cfgHandles(func(hd *Handles) error {
				var id uint32
				must(t, mapLookup(hd.FD("km_tail_msg"), uint32(0), &id))
				if id != after.Progs["metadata"] {
					t.Errorf("sockets in the map go to program %d, not %d", id, after.Progs["metadata"])
				}
				return nil
			}))
			h.upAgainChangesNothing()
			must1(Down(&h.cfg))(t)
			h.empty()
		})
	}
}

// noSockMapLinks makes the kernel one before 6.12.
func noSockMapLinks(t *testing.T) {
	t.Helper()
	was := linkSockMap
	linkSockMap = func(int, int, uint32) (int, error) { return -1, unix.EINVAL }
	t.Cleanup(func() { linkSockMap = was })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 300 {
		if ok() {
			return
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 10e6}, nil)
	}
	t.Fatal("waited too long for " + what)
}
