// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

func TestWorkloadUpRepairsALostPin(t *testing.T) {
	for _, c := range []struct {
		dir  dir
		name string
		keep bool // the object lives on without its pin, so it is adopted
	}{
		{mapDir, "km_peer", true},
		{mapDir, "km_tail_msg", false},
		{progDir, "metadata", true},
		{progDir, nicProgram, true},
		{linkDir, "sendmsg", false},
		{linkDir, "", false}, // that on the pod's device
	} {
		t.Run(string(c.dir)+"/"+c.name, func(t *testing.T) {
			h := newWorkloadHost(t)
			must(t, h.up())
			cookie := h.enroll(newPod(t, "10.1.2.3/24"))
			if c.name == "" {
				c.name = h.nicLinks(cookie)[0]
			}
			before := h.record().ids(c.dir)[c.name]
			must(t, os.Remove(h.t_.pin(c.dir, c.name)))
			if len(h.status().Problems) == 0 {
				t.Error("status finds nothing wrong")
			}
			must(t, h.up())
			if after := h.record().ids(c.dir)[c.name]; c.keep && after != before {
				t.Errorf("id %d, was %d", after, before)
			}
			h.noProblem()
			h.upAgainChangesNothing()
		})
	}
}

// pinned returns a descriptor of what is pinned under the name.
func (h *host) pinned(d dir, name string) int {
	h.t.Helper()
	fd := must1(pinGet(h.t_.pin(d, name)))(h.t)
	h.t.Cleanup(func() { must(h.t, unix.Close(fd)) })
	return fd
}

func TestAStrangersXDPProgramIsNamedAndLeft(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newPod(t, "10.1.2.3/24")
	p := must1(lookInto(must1(cookieAt(path))(t), path))(t)
	stranger := must1(attachNIC(p, p.nics[0], h.pinned(progDir, nicProgram), XDPGeneric))(t)
	defer func() { must(t, unix.Close(stranger)) }()
	pins := h.pins()
	must(t, h.cfgHandles(func(hd *Handles) error {
		_, err := hd.Enroll(path, false)
		wantError(t, err, exit.Attach, "eth0", path, "ip link show")
		return nil
	}))
	if h.pins() != pins || len(h.enrolled()) != 0 {
		t.Error("a refused enroll left something")
	}
	must(t, h.cfgHandles(func(hd *Handles) error { // as the control address does
		return mapUpdate(hd.FD("km_netns"), p.cookie, newKmNetns(1))
	}))
	h.cfg.Workload.NodeName = "another"
	wantError(t, h.up(), exit.Attach, "eth0", path, "ip link show")
	if h.pins() != pins || h.status().Workload.NodeName == "another" {
		t.Error("a refused up left something")
	}
	if info := must1(linkInfoOf(stranger))(t); info.Ifindex == 0 {
		t.Error("the stranger's program was taken off")
	}
}

// One device of two cannot be judged: the first is let go again.
func TestAnEnrolmentThatFailsHalfWayIsTakenBack(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newNetns(t)
	ip(t, path, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	p := must1(lookInto(must1(cookieAt(path))(t), path))(t)
	second := p.nics[len(p.nics)-1]
	stranger := must1(attachNIC(p, second, h.pinned(progDir, nicProgram), XDPGeneric))(t)
	must(t, h.cfgHandles(func(hd *Handles) error {
		_, err := hd.Enroll(path, false)
		wantError(t, err, exit.Attach, second.name)
		return nil
	}))
	if l := h.nicLinks(p.cookie); len(l) != 0 || len(h.enrolled()) != 0 {
		t.Errorf("links %q, enrolled %v", l, h.enrolled())
	}
	must(t, unix.Close(stranger))
	waitFor(t, "the stranger's program to go", func() bool {
		return h.cfgHandles(func(hd *Handles) error {
			_, err := hd.Enroll(path, false)
			return err
		}) == nil
	})
	h.noProblem()
}

func TestUpDropsALinkOfNoEnrolledNamespace(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	cookie := h.enroll(newPod(t, "10.1.2.3/24"))
	must(t, h.cfgHandles(func(hd *Handles) error { return hd.release(cookie) })) // as the control address does
	if len(h.status().Problems) != 1 {
		t.Errorf("problems: %q", h.status().Problems)
	}
	must(t, h.up())
	if l := h.nicLinks(cookie); len(l) != 0 {
		t.Errorf("links %q", l)
	}
	h.noProblem()
}

func TestEnrolmentWaitsForAnUpAndNotForEver(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newPod(t, "10.1.2.3/24")
	l := must1(takePodsLock(&h.cfg, "test"))(t)
	h.cfg.LockTimeout = 20e6
	must(t, h.cfgHandles(func(hd *Handles) error {
		_, err := hd.Enroll(path, false)
		wantError(t, err, exit.Locked, "--lock-timeout")
		return nil
	}))
	must(t, l.release())
	h.enroll(path)
}

func TestEnrolmentAfterDownIsRefused(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newPod(t, "10.1.2.3/24")
	must(t, h.cfgHandles(func(hd *Handles) error {
		h.cfg.Mode = ""
		must1(Down(&h.cfg))(t)
		h.setMode(Workload)
		_, err := hd.Enroll(path, false)
		wantError(t, err, exit.NotUp)
		h.empty()
		must(t, h.up()) // its maps are others
		_, err = hd.Enroll(path, false)
		wantError(t, err, exit.NotUp)
		return nil
	}))
	if l := h.enrolled(); len(l) != 0 {
		t.Errorf("enrolled: %v", l)
	}
}

func TestADeviceThatGoesWhileUpAttachesIsNoError(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newPod(t, "10.1.2.3/24")
	p := must1(lookInto(must1(cookieAt(path))(t), path))(t)
	if p.lost(p.nics[0]) {
		t.Error("a device that is there is lost")
	}
	ip(t, path, "link", "del", "eth0")
	_, err := attachNIC(p, p.nics[0], h.pinned(progDir, nicProgram), XDPGeneric)
	if err == nil || !p.lost(p.nics[0]) {
		t.Errorf("a device that went is there: %v", err)
	}
}
