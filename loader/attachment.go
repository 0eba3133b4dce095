// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/podrecord"
)

// NamespaceCookie is the kernel's name of the network namespace at path. That of the
// host's first process is refused: an *exit.Error of code Usage. Nothing there: one of
// code NotUp; before Linux 5.14: NotReady.
func NamespaceCookie(path string) (uint64, error) {
	cookie, host, err := namespaceAt("enroll", path)
	if err == nil && host {
		err = &exit.Error{Code: exit.Usage, Step: "enroll", Object: path, Err: errHostNetns}
	}
	return cookie, err
}

// EnrollRecorded is Enroll for the namespace of a record. Where something of the
// configuration follows from the pod, ask has it brought up to date by who has that at
// hand; where it returns false that is done here, which reads all of the configuration.
func (h *Handles) EnrollRecorded(r *podrecord.Record, ask func() bool) error {
	cookie, err := NamespaceCookie(r.Netns)
	if err != nil {
		return err
	}
	if cookie != r.Cookie {
		return &exit.Error{Code: exit.NotUp, Step: "enroll", Object: r.Netns,
			Err: fmt.Errorf("it is namespace %d now, not %d", cookie, r.Cookie), Remedy: "start the pod again"}
	}
	return h.enrollAt(cookie, r.Netns, func() error {
		if known, err := h.isKnown(cookie); err != nil || !known || ask() {
			return err
		}
		return h.refresh()
	})
}

// ReleaseRecorded unenrols the namespace of a record, which may be gone. What followed
// from it does no harm without it, and goes with the next publication. One that is not
// enrolled is no error.
func (h *Handles) ReleaseRecorded(r *podrecord.Record) error {
	_, err := h.unenroll(r.Cookie)
	return err
}

// isKnown says whether an address of an enrolled pod is a workload's: else nothing follows
// from the pod yet. It looks with the lock of the writers: one who is publishing may have
// read the enrolments before this one came.
func (h *Handles) isKnown(cookie uint64) (known bool, err error) {
	if h.cfg.Mode != Workload {
		return false, nil
	}
	f, err := takeStoreLock(h.cfg.StoreLock(), "enroll", "try again", h.cfg.LockTimeout)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var entry kmNetns
	if err := mapLookup(h.fds["km_netns"], cookie, &entry); errors.Is(err, os.ErrNotExist) {
		return false, nil // it left in between
	} else if err != nil {
		return false, fmt.Errorf("read km_netns: %w", err)
	}
	for _, a := range entry.addresses() {
		if known, err = h.hasPeer(inMap(a), peerWorkload); known || err != nil {
			return known, err
		}
	}
	return false, nil
}

// NetnsMap is the id of the map that holds what is enrolled.
func (h *Handles) NetnsMap() (uint32, error) {
	o, err := objectOf(mapDir, h.fds["km_netns"])
	return o.id, err
}

// EnrolledNow says whether a namespace is enrolled.
func (h *Handles) EnrolledNow(cookie uint64) (bool, error) {
	var entry kmNetns
	err := mapLookup(h.fds["km_netns"], cookie, &entry)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Recorded is what is found inside of the namespace of a record.
type Recorded struct {
	Addresses []netip.Addr
	Unjudged  []string // workload mode: devices without a living xdpauth
}

// LookRecorded looks into the namespace of a record, changing nothing.
func (h *Handles) LookRecorded(r *podrecord.Record) (found Recorded, err error) {
	p, err := lookInto(r.Cookie, r.Netns)
	if err != nil {
		return found, err
	}
	found.Addresses = p.addrs
	if h.cfg.Mode != Workload {
		return found, nil
	}
	for _, d := range p.nics {
		judged, err := h.judged(r.Cookie, d)
		if err != nil {
			return found, err
		}
		if !judged {
			found.Unjudged = append(found.Unjudged, d.name)
		}
	}
	return found, nil
}

// judged says whether the program on the device is ours, by its link.
func (h *Handles) judged(cookie uint64, d nic) (bool, error) {
	pin := h.cfg.tree().pin(linkDir, nicLink(cookie, d.index))
	fd, err := pinGet(pin)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, attachError("open pin", pin, err, "remove it")
	}
	defer func() { closeFd(h.cfg.Log, fd) }()
	info, err := linkInfoOf(fd)
	return err == nil && info.onNIC() && slices.Contains(d.xdp, info.Prog), err
}

// AwaitPods returns when nobody is about to change what is enrolled: an `up` that was under
// way is over then, or finds what is recorded by now.
func AwaitPods(cfg *Config) error {
	l, err := takePodsLock(cfg, "wait")
	if err != nil {
		return err
	}
	return l.release()
}
