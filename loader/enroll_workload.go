// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include "bpf/workload.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// enrollPod attaches to the devices first, so that nothing is let in that should
// not, then puts the namespace into km_netns.
func (h *Handles) enrollPod(cookie uint64, path string, u *undo) error {
	p, err := lookInto(cookie, path)
	if err != nil {
		return attachError("enroll", path, err, "name a network namespace that is there")
	}
	if err := h.judge(p, u); err != nil {
		return err
	}
	switch {
	case p.host:
		h.cfg.Log.Warnf("%s is the host's own: its connections are managed, what comes in to the host is not judged", path)
	case len(p.nics) == 0:
		h.cfg.Log.Warnf("%s has no Ethernet device: what comes in is not judged; enroll it again when it has one", path)
	}
	return h.enter(cookie, path, u, func(e *kmNetns) error { return h.describe(e, p) })
}

// judge attaches xdpauth to the devices of a pod that have no living link.
func (h *Handles) judge(p pod, u *undo) error {
	t := h.cfg.tree()
	rec, err := t.load()
	if err != nil {
		return notUp("enroll", t)
	}
	prog, err := pinGet(t.pin(progDir, nicProgram))
	if err != nil {
		return notUp("enroll", t)
	}
	defer func() { closeFd(h.cfg.Log, prog) }()
	for _, d := range p.nics {
		pin := t.pin(linkDir, nicLink(p.cookie, d.index))
		alive, err := nicAlive(pin)
		if err != nil {
			return attachError("open pin", pin, err, "remove it")
		}
		if alive {
			continue
		}
		if err := sendsBack(p, d, rec.XDPMode); err != nil {
			return attachError("enroll", nicProgram, err, nicRemedy(err))
		}
		if err := fault("enroll device"); err != nil {
			return attachError("enroll", nicProgram+" on device "+d.name, err, "")
		}
		link, err := attachNIC(p, d, prog, rec.XDPMode)
		if err != nil {
			return attachError("enroll", nicProgram, err, nicRemedy(err))
		}
		err = pinPut(link, pin)
		if err := errors.Join(err, unix.Close(link)); err != nil {
			return attachError("pin", pin, err, "")
		}
		u.push("detach "+pin, func() error { return detachNIC(pin) })
	}
	return nil
}

// nicAlive says whether a link is pinned there whose device is alive; a dead one's
// pin is removed.
func nicAlive(pin string) (bool, error) {
	fd, err := pinGet(pin)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	info, err := linkInfoOf(fd)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return false, err
	}
	if info.Ifindex != 0 {
		return true, nil
	}
	return false, os.Remove(pin)
}

// releaseNICs takes xdpauth off the devices of a namespace.
func (h *Handles) releaseNICs(cookie uint64) error {
	t := h.cfg.tree()
	links, err := t.nicLinks()
	if err != nil {
		return fmt.Errorf("unenroll: %w", err)
	}
	var errs []error
	for _, name := range links[cookie] {
		if err := fault("release device"); err != nil {
			errs = append(errs, fmt.Errorf("unenroll: detach %s: %w", name, err))
			continue
		}
		if err := detachNIC(t.pin(linkDir, name)); err != nil {
			errs = append(errs, fmt.Errorf("unenroll: detach %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// detachNIC takes a pinned link off its device at once, where the kernel lets it, and
// unpins it: the link goes with its pin in any case.
func detachNIC(pin string) error {
	fd, err := pinGet(pin)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	detachErr := linkDetach(fd)
	if err := errors.Join(unix.Close(fd), os.Remove(pin)); err != nil {
		return errors.Join(ignoreGone(detachErr), err)
	}
	return nil
}

// describe fills in a namespace's addresses and whether its pod is a waypoint.
func (h *Handles) describe(e *kmNetns, p pod) error {
	if n := len(p.addrs); n > C.KM_NETNS_ADDRS {
		h.cfg.Log.Warnf("%s has %d addresses: the first %d are looked up among the workloads, at the others only policies for all hold", p.path, n, C.KM_NETNS_ADDRS)
	}
	e.n, e.ip = 0, [C.KM_NETNS_ADDRS][4]C.__be32{}
	for _, a := range p.addrs[:min(len(p.addrs), C.KM_NETNS_ADDRS)] {
		ip := inMap(a)
		e.ip[e.n] = ip
		e.n++
		waypoint, err := h.isWaypoint(ip)
		if err != nil {
			return err
		}
		if waypoint {
			e.flags |= C.KM_NETNS_WAYPOINT
		}
	}
	return nil
}

// inMap is an address as the maps have it: IPv4 is ::ffff:a.b.c.d.
func inMap(a netip.Addr) [4]C.__be32 {
	b := a.As16()
	return *(*[4]C.__be32)(unsafe.Pointer(&b))
}

// isWaypoint says whether the workload of that address serves as waypoint.
func (h *Handles) isWaypoint(ip [4]C.__be32) (bool, error) { return h.hasPeer(ip, peerWaypoint) }

// hasPeer says whether a peer of that address has the flag.
func (h *Handles) hasPeer(ip [4]C.__be32, flag uint32) (bool, error) {
	var peer kwPeer
	err := mapLookup(h.fds["km_peer"], ip, &peer)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read km_peer: %w", err)
	}
	return uint32(peer.flags)&flag != 0, nil
}

// addresses is what describe filled in.
func (e *kmNetns) addresses() []netip.Addr {
	var l []netip.Addr
	for _, ip := range e.ip[:min(e.n, C.KM_NETNS_ADDRS)] {
		l = append(l, netip.AddrFrom16(*(*[16]byte)(unsafe.Pointer(&ip))).Unmap())
	}
	return l
}

func (e *kmNetns) waypoint() bool { return e.flags&C.KM_NETNS_WAYPOINT != 0 }
