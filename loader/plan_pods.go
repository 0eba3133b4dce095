// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// enrolments lists the cookies that are enrolled, and with the reason those that will be:
// carried over from the other mode (see carryEnrolments), or recorded (see enrolRecorded).
func (k *node) enrolments() (map[uint64]string, error) {
	l := map[uint64]string{}
	if k.other != nil && k.found.Build == "" {
		fd, err := pinGet(k.cfg.withMode(otherMode(k.cfg.Mode)).tree().pin(mapDir, "km_netns"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, attachError("carry enrolments over", "km_netns", err, "")
		}
		if err == nil {
			k.held = append(k.held, fd)
			cookies, err := netnsKeys(fd)
			if err != nil {
				return nil, attachError("carry enrolments over", "km_netns", err, "")
			}
			for _, c := range cookies {
				l[c] = "it is enrolled in mode " + string(otherMode(k.cfg.Mode))
			}
		}
	}
	if fd := k.FD("km_netns"); fd >= 0 {
		cookies, err := netnsKeys(fd)
		if err != nil {
			return nil, attachError("attach", "km_netns", err, "")
		}
		for _, c := range cookies {
			l[c] = ""
		}
	}
	return l, k.lookRecords(l)
}

// lookEnrolled says what becomes of enrolments where no device goes with them.
func (k *node) lookEnrolled() error {
	l, err := k.enrolments()
	if err != nil {
		return err
	}
	gone, err := gonePods(sorted(l))
	if err != nil {
		return err
	}
	for _, c := range sorted(l) {
		switch {
		case !slices.Contains(gone, c):
			k.addEnrolment(c, l[c], "")
		case l[c] == "": // what is gone is not carried over
			k.add(ActionDelete, "enrolment", strconv.FormatUint(c, 10), "its namespace is gone")
		}
	}
	return nil
}

// addEnrolment is about one that is, or with create, the reason, one that will be.
func (k *node) addEnrolment(cookie uint64, create, why string) {
	name := strconv.FormatUint(cookie, 10)
	if create != "" {
		k.add(ActionCreate, "enrolment", name, joinWords(create, why))
		return
	}
	k.add(ActionKeep, "enrolment", name, why)
}

// lookPods is attachPods without its effect.
func (k *node) lookPods(program, cgroup) error {
	enrolled, err := k.enrolments()
	if err != nil || len(enrolled) == 0 {
		return err
	}
	links := map[uint64][]string{}
	if !k.plan.bare {
		if links, err = k.t.nicLinks(); err != nil {
			return attachError("attach", nicProgram, err, "")
		}
	}
	where, err := namespacesOf(sorted(enrolled))
	if err != nil {
		return attachError("find namespaces", nicProgram, err, "")
	}
	all := seesAll()
	for _, c := range sorted(enrolled) {
		changes := len(k.plan.Changes)
		alive, err := k.lookNICs(links[c])
		if err != nil {
			return err
		}
		switch paths := where[c]; {
		case len(paths) > 0:
			err = k.lookPod(c, paths[0], enrolled[c])
		case !alive && all:
			if enrolled[c] == "" {
				k.add(ActionDelete, "enrolment", strconv.FormatUint(c, 10), "its namespace is gone")
			}
		default:
			k.addEnrolment(c, enrolled[c], "it is not in sight from here: new devices of it are not judged")
		}
		if err != nil && k.enrolling(c) != nil {
			k.plan.Changes = k.plan.Changes[:changes]
			k.dropNICs(c)
			k.refuse(c, err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lookNICs is adoptNICs without its effect.
func (k *node) lookNICs(names []string) (alive bool, err error) {
	for _, name := range names {
		_, info, err := k.openNIC(name)
		if err != nil {
			return false, err
		}
		if !info.onNIC() {
			continue // lookPod or lookStrays has it
		}
		alive = true
		prog := k.found.Progs[nicProgram]
		switch {
		case k.found.XDPMode != "" && k.found.XDPMode != k.next.XDPMode:
			continue // lookPod has it
		case k.fresh:
			k.add(ActionUpdate, "link", name, "")
		case info.Prog != prog:
			k.add(ActionRepair, "link", name, fmt.Sprintf("it runs program %d, not %d", info.Prog, prog))
		default:
			k.add(ActionKeep, "link", name, "")
		}
		k.nics[name] = true
	}
	return alive, nil
}

// lookPod is attachPod without its effect.
func (k *node) lookPod(cookie uint64, path, create string) error {
	p, devices, err := k.unlinked(cookie, path)
	if errors.Is(err, errEnded) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range devices {
		name := nicLink(cookie, d.index)
		for _, id := range d.xdp {
			if !k.ownProgram(id) {
				err := fmt.Errorf("device %s of %s: program %d: %w", d.name, path, id, unix.EBUSY)
				return attachError("attach", nicProgram, err, nicRemedy(err))
			}
		}
		k.nics[name] = true
		what := "device " + d.name + " of " + path
		switch {
		case k.pinned(linkDir, name) && k.found.XDPMode != k.next.XDPMode:
			k.add(ActionUpdate, "link", name, what+": it gets mode "+k.next.XDPMode)
		case k.pinned(linkDir, name):
			k.add(ActionRepair, "link", name, what+": it was detached")
		case create != "" || k.found.Build == "":
			k.add(ActionCreate, "link", name, what)
		default:
			k.add(ActionRepair, "link", name, what+" is enrolled and not judged")
		}
	}
	return k.lookAddresses(p, create)
}

// ownProgram says whether a program is of what is loaded here, in either mode.
func (k *node) ownProgram(id uint32) bool {
	if k.plan.own == nil {
		k.plan.own = ownPrograms(k.cfg)
	}
	return k.plan.own[id]
}

// lookAddresses is writePod without its effect.
func (k *node) lookAddresses(p pod, create string) error {
	if create == "" && (k.resized["km_netns"] || k.resized["km_peer"]) {
		// Its entry, or its peers, are another build's: it is carried over.
		k.addEnrolment(p.cookie, "", p.path)
		return nil
	}
	if create != "" {
		k.addEnrolment(p.cookie, create, p.path)
		return nil
	}
	fd := k.FD("km_netns")
	var have kmNetns
	if err := mapLookup(fd, p.cookie, &have); errors.Is(err, os.ErrNotExist) {
		return nil // it left in between
	} else if err != nil {
		return attachError("read km_netns", p.path, err, "")
	}
	entry := have
	if k.FD("km_peer") >= 0 && !k.resized["km_peer"] {
		if err := k.describe(&entry, p); err != nil {
			return attachError("read km_peer", p.path, err, "")
		}
	}
	if entry != have {
		k.add(ActionUpdate, "enrolment", strconv.FormatUint(p.cookie, 10), "the addresses of "+p.path+" are others")
		return nil
	}
	k.addEnrolment(p.cookie, "", p.path)
	return nil
}
