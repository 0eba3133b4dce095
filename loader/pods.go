// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// xdpauth runs on every Ethernet device of every enrolled namespace, by a link that
// is made inside of the namespace and pinned on the host, which updates it from
// there. A link outlives its device, and answers ENOLINK then.

// nicProgram is the row of what runs on the devices of pods.
const nicProgram = "xdpauth"

var nicLinkName = regexp.MustCompile(`^` + nicProgram + `-([0-9]+)-([0-9]+)$`)

// nicLink is the name of the link on a device: cookie of the namespace, index.
func nicLink(cookie uint64, index int) string {
	return nicProgram + "-" + strconv.FormatUint(cookie, 10) + "-" + itoa(index)
}

func isNICLink(name string) bool { return nicLinkName.MatchString(name) }

// nicLinks lists the names of the pinned links on devices, by cookie.
func (t tree) nicLinks() (map[uint64][]string, error) {
	entries, err := os.ReadDir(t.dir(linkDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l := map[uint64][]string{}
	for _, e := range entries {
		m := nicLinkName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		cookie, err := strconv.ParseUint(m[1], 10, 64)
		if err != nil {
			continue // no cookie is that long: not ours
		}
		l[cookie] = append(l[cookie], e.Name())
	}
	return l, nil
}

// attachPods brings the devices of all enrolled namespaces to k's program, forgets
// namespaces of which nothing is left, and enrols those that are recorded.
func (k *node) attachPods(r program, _ cgroup) error {
	cookies, err := netnsKeys(k.fds["km_netns"])
	if err != nil {
		return attachError("attach", r.name, err, "")
	}
	links, err := k.t.nicLinks()
	if err != nil {
		return attachError("attach", r.name, err, "")
	}
	for _, r := range k.records {
		if r.fate == recordEnrols && !slices.Contains(cookies, r.Cookie) {
			cookies = append(cookies, r.Cookie)
		}
	}
	if len(cookies) == 0 {
		return nil // commit drops what links there are
	}
	where, err := namespacesOf(cookies)
	if err != nil {
		return attachError("find namespaces", r.name, err, "")
	}
	all := seesAll()
	slices.Sort(cookies)
	for _, c := range cookies {
		if r := k.enrolling(c); r != nil {
			k.enrolPod(r, links[c], where[c])
			continue
		}
		alive, err := k.adoptNICs(links[c])
		if err != nil {
			return err
		}
		switch paths := where[c]; {
		case len(paths) > 0:
			err = k.attachPod(c, paths[0])
		case !alive && all:
			err = k.forgetPod(c)
		default:
			k.log.Warnf("namespace %d is enrolled and not in sight from here: new devices of it are not judged", c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enrolPod enrols by a record, once the devices are judged.
func (k *node) enrolPod(r *recorded, links, paths []string) {
	if len(paths) == 0 { // it ended by now, or is not in sight from here
		for o := r; o != nil; o = k.enrolling(r.Cookie) {
			o.fate = recordKept
		}
		return
	}
	k.tryEnrol(r, func() error {
		if _, err := k.adoptNICs(links); err != nil {
			return err
		}
		p, err := k.attachDevices(r.Cookie, paths[0])
		if err != nil {
			return err
		}
		return k.enterRecorded(r, func(e *kmNetns) error { return k.describe(e, p) })
	})
}

// dropNICs has no link of a namespace wanted.
func (k *node) dropNICs(cookie uint64) {
	prefix := nicProgram + "-" + strconv.FormatUint(cookie, 10) + "-"
	maps.DeleteFunc(k.nics, func(name string, _ bool) bool { return strings.HasPrefix(name, prefix) })
}

// adoptNICs brings the links of one namespace that are alive to k's program, and
// says whether there are any.
func (k *node) adoptNICs(names []string) (alive bool, err error) {
	prog, err := progInfoOf(k.progs[nicProgram])
	if err != nil {
		return false, attachError("attach", nicProgram, err, "")
	}
	for _, name := range names {
		fd, info, err := k.openNIC(name)
		if err != nil {
			return false, err
		}
		if !info.onNIC() {
			continue // commit drops it
		}
		alive = true
		if k.found.XDPMode != "" && k.found.XDPMode != k.next.XDPMode {
			continue // attachPod makes it anew
		}
		if info.Prog != prog.ID {
			done, err := k.updateNIC(name, fd, info.Prog)
			if err != nil {
				return alive, err
			}
			if !done {
				continue
			}
		}
		k.nics[name] = true
	}
	return alive, nil
}

// openNIC opens a pinned link and says what it is of: of nothing where there is no pin.
func (k *node) openNIC(name string) (fd int, info linkInfo, err error) {
	fd, err = k.openOurs(linkDir, name, 0)
	if err == nil && fd >= 0 {
		k.held = append(k.held, fd)
		info, err = linkInfoOf(fd)
	}
	if err != nil {
		err = attachError("attach", name, err, "")
	}
	return fd, info, err
}

// onNIC says whether the link is on a device that is there.
func (l linkInfo) onNIC() bool { return l.Type == linkType[onPodNIC] && l.Ifindex != 0 }

// updateNIC puts k's program into a link; false where its device is gone by now.
func (k *node) updateNIC(name string, link int, oldID uint32) (bool, error) {
	old, err := byID(progDir, oldID)
	if err != nil {
		return false, attachError("update link", name, fmt.Errorf("open its program: %w", err), "")
	}
	k.held = append(k.held, old)
	err = linkUpdate(link, k.progs[nicProgram])
	if errors.Is(err, unix.ENOLINK) {
		return false, nil
	}
	if err != nil {
		return false, attachError("update link", name, err, "")
	}
	k.undo.push("update link "+name+" back", func() error { return ignoreGone(linkUpdate(link, old)) })
	k.change("link updated: " + name)
	return true, nil
}

// errEnded says that a namespace went while it was looked at.
var errEnded = errors.New("it ended by now")

// unlinked are the devices of a namespace that have no link yet and may have one.
func (k *node) unlinked(cookie uint64, path string) (p pod, devices []nic, err error) {
	p, err = lookInto(cookie, path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return p, nil, fmt.Errorf("%w: %w", err, errEnded)
	}
	if err != nil {
		return p, nil, attachError("attach", nicProgram, err, "")
	}
	for _, d := range p.nics {
		if k.nics[nicLink(cookie, d.index)] {
			continue
		}
		if err := sendsBack(p, d, k.next.XDPMode); err != nil {
			return p, nil, attachError("attach", nicProgram, err, nicRemedy(err))
		}
		devices = append(devices, d)
	}
	return p, devices, nil
}

// attachPod attaches to the devices of a namespace that have no link yet, and
// brings its entry in km_netns up to date.
func (k *node) attachPod(cookie uint64, path string) error {
	p, err := k.attachDevices(cookie, path)
	if errors.Is(err, errEnded) {
		k.log.Debug(err)
		return nil
	}
	if err != nil {
		return err
	}
	return k.writePod(p)
}

func (k *node) attachDevices(cookie uint64, path string) (p pod, err error) {
	p, devices, err := k.unlinked(cookie, path)
	if err != nil {
		return p, err
	}
	for _, d := range devices {
		name := nicLink(cookie, d.index)
		if err := fault("device"); err != nil {
			return p, attachError("attach", nicProgram+" to device "+d.name, err, "")
		}
		if err := k.takeOff(name, p, d); err != nil {
			return p, err
		}
		link, err := attachNIC(p, d, k.progs[nicProgram], k.next.XDPMode)
		if err != nil && p.lost(d) {
			k.log.Debugf("%v: it went by now", err)
			continue
		}
		if err != nil {
			return p, attachError("attach", nicProgram, err, nicRemedy(err))
		}
		k.held = append(k.held, link)
		k.undo.push("detach "+name, func() error { return ignoreGone(linkDetach(link)) })
		if err := k.pin(link, linkDir, name); err != nil {
			return p, err
		}
		k.nics[name] = true
		k.change(fmt.Sprintf("attached: %s at %s of %s", nicProgram, d.name, path))
	}
	return p, nil
}

// takeOff drops the link in the way of a new one on the device, one of the other
// mode or a dead one: a device takes one program at a time.
func (k *node) takeOff(name string, p pod, d nic) error {
	path := k.t.pin(linkDir, name)
	fd, err := pinGet(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return attachError("open pin", path, err, "remove it")
	}
	info, err := linkInfoOf(fd)
	if err != nil {
		return attachError("open pin", path, errors.Join(err, unix.Close(fd)), "remove it")
	}
	prog, err := byID(progDir, info.Prog)
	if err != nil {
		prog = -1 // it goes with the link
	}
	k.held = append(k.held, prog)
	if err := os.Remove(path); err != nil {
		return attachError("unpin", path, errors.Join(err, unix.Close(fd)), "remove it")
	}
	// adoptNICs holds one more descriptor.
	if err := errors.Join(ignoreGone(linkDetach(fd)), unix.Close(fd)); err != nil {
		return attachError("detach", name, err, "")
	}
	if prog < 0 || info.Ifindex == 0 {
		return nil
	}
	mode := k.found.XDPMode
	k.undo.push("attach "+name+" again", func() error {
		link, err := attachNIC(p, d, prog, mode)
		if err != nil {
			return err
		}
		return errors.Join(pinPut(link, path), unix.Close(link))
	})
	return nil
}

// ignoreGone leaves out that the device of a link has gone.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOLINK) {
		return nil
	}
	return err
}

// writePod writes the addresses of an enrolled namespace where they are others.
func (k *node) writePod(p pod) error {
	fd := k.fds["km_netns"]
	var old kmNetns
	err := mapLookup(fd, p.cookie, &old)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it left by the control address
	}
	if err != nil {
		return attachError("read km_netns", p.path, err, "")
	}
	entry := old
	if err := k.describe(&entry, p); err != nil {
		return attachError("read km_peer", p.path, err, "")
	}
	if entry == old {
		return nil
	}
	if err := mapUpdate(fd, p.cookie, entry); err != nil {
		return attachError("write km_netns", p.path, err, "")
	}
	k.undo.push("write km_netns back", func() error { return mapUpdate(fd, p.cookie, old) })
	k.podsChanged = true
	k.change("addresses written: " + p.path)
	if err := k.slotAdd(p.cookie); err != nil {
		return attachError("write km_netns", p.path, err, "")
	}
	return nil
}

// forgetPod takes an enrolment back whose namespace is gone.
func (k *node) forgetPod(cookie uint64) error {
	if err := k.release(cookie); err != nil && !errors.Is(err, errNotEnrolled) {
		return attachError("forget namespace", strconv.FormatUint(cookie, 10), err, "")
	}
	k.podsChanged = true
	k.change(fmt.Sprintf("forgotten: namespace %d is gone", cookie))
	return nil
}
