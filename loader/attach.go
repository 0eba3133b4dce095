// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// The kernel's rules that this file goes by. A pinned cgroup link lives on
// without its maker, may stand beside others' links, and takes another program in
// place, atomically (BPF_LINK_UPDATE); it answers ENOLINK once its cgroup is gone.
// A tracing link takes no other program: the new one is attached first, and the
// old one dropped after; both run for a moment, and the program tolerates that.

// Attach brings every hook of the wanted rows to k's program. What is right
// already is not touched. A failure leaves every link as it was.
func (k *node) Attach() (err error) {
	if k.pods == nil {
		if k.pods, err = takePodsLock(k.cfg, "attach"); err != nil {
			return err
		}
	}
	if err := k.carryEnrolments(); err != nil {
		return err
	}
	if err := k.forgetPods(); err != nil {
		return err
	}
	if err := k.enrolRecorded(); err != nil {
		return err
	}
	cg, err := openCgroup(k.cfg.Cgroup2Path)
	if err != nil {
		return attachError("open cgroup", k.cfg.Cgroup2Path, err, "give --cgroup2-path a directory of cgroup2")
	}
	// Not held any longer: the mount could not be taken back.
	defer func() { err = errors.Join(err, unix.Close(cg.fd)) }()
	k.next.Links = map[string]uint32{}
	for _, r := range k.rows {
		if r.hook.kind == byTailCall {
			continue
		}
		attach := k.attachRow
		switch r.hook.kind {
		case onPodNIC:
			attach = k.attachPods
		case onSockMap:
			attach = k.attachSockMap
		}
		if err := fault("link"); err != nil {
			return attachError("attach", r.name, err, "")
		}
		if err := attach(r, cg); err != nil {
			return err
		}
		if err := fault("linked"); err != nil {
			return attachError("attach", r.name, err, "")
		}
	}
	if err := k.swapTails(); err != nil {
		return err
	}
	if err := fault("attach"); err != nil {
		return attachError("attach", k.t.root(), err, "")
	}
	return nil
}

// attachRow is for hooks that a link at one place is made for.
func (k *node) attachRow(r program, cg cgroup) error {
	prog, err := progInfoOf(k.progs[r.name])
	if err != nil {
		return attachError("attach", r.name, err, "")
	}
	old, info, err := k.ownLink(r)
	if err != nil {
		return err
	}
	if old >= 0 && r.hook.matches(info, cg) {
		k.next.Links[r.name] = info.ID
		if info.Prog == prog.ID {
			return nil
		}
		done, err := k.updateLink(r, old, info.Prog)
		if err != nil || done {
			return err
		}
	}
	return k.newLink(r, cg, old >= 0)
}

// ownLink opens the link that an earlier `up` made for the row; -1: none is left.
func (k *node) ownLink(r program) (int, linkInfo, error) {
	fd, err := k.openOurs(linkDir, r.name, k.found.Links[r.name])
	if err != nil {
		return -1, linkInfo{}, attachError("attach", r.name, err, "")
	}
	if fd < 0 {
		return -1, linkInfo{}, nil
	}
	k.held = append(k.held, fd)
	info, err := linkInfoOf(fd)
	if err != nil {
		return -1, info, attachError("attach", r.name, err, "")
	}
	return fd, info, nil
}

// updateLink puts k's program into the link; false where this link takes none.
func (k *node) updateLink(r program, link int, oldID uint32) (bool, error) {
	if !r.hook.swaps() {
		return false, nil
	}
	oldProg, err := byID(progDir, oldID)
	if err != nil {
		return false, attachError("update link", r.name, fmt.Errorf("open its program: %w", err), "")
	}
	k.held = append(k.held, oldProg)
	err = linkUpdate(link, k.progs[r.name])
	if errors.Is(err, unix.ENOLINK) {
		return false, nil
	}
	if err != nil {
		return false, attachError("update link", r.name, err, r.hook.remedy(err))
	}
	k.swapped = true
	k.undo.push("update link "+r.name+" back", func() error { return linkUpdate(link, oldProg) })
	k.change("link updated: " + r.name)
	return true, nil
}

// newLink attaches anew. Where a link is pinned already, the new one's pin is put
// in its place at the end, and so the old one is dropped.
func (k *node) newLink(r program, cg cgroup, replace bool) error {
	link, err := r.hook.attach(k.progs[r.name], cg)
	if err != nil {
		return attachError("attach", r.name+" at "+r.hook.String(), err, r.hook.remedy(err))
	}
	return k.pinLink(r, link, replace)
}

// pinLink pins a new link under the row's name.
func (k *node) pinLink(r program, link int, replace bool) error {
	k.held = append(k.held, link)
	info, err := linkInfoOf(link)
	if err != nil {
		return attachError("attach", r.name, err, "")
	}
	k.next.Links[r.name] = info.ID
	put := k.pin
	k.swapped = k.swapped || replace
	if replace {
		put = k.prepin
	}
	if err := put(link, linkDir, r.name); err != nil {
		return attachError("attach", r.name, err, "")
	}
	k.change("attached: " + r.name + " at " + r.hook.String())
	return nil
}

// commit puts the prepared pins in place, drops what is not wanted any more and
// writes the record. It begins when all hooks run this build's programs.
func (k *node) commit() error {
	if err := fault("commit"); err != nil {
		return attachError("commit", k.t.root(), err, "")
	}
	if k.cfg.Mode == Ads && k.fresh && (k.found.Build != "" || k.swapped) {
		// A connect may be between two of the old programs. The array that
		// they tail-call through is emptied when its pin goes.
		if err := bpfmap.Grace(); err != nil {
			return attachError("update links", k.t.root(), err, "")
		}
	}
	if err := k.followMaps(); err != nil {
		return err
	}
	for _, s := range k.stage {
		if err := k.replacePin(s); err != nil {
			return attachError("pin", k.t.pin(s.dir, s.name), err, "")
		}
	}
	if err := k.dropStrays(); err != nil {
		return err
	}
	if err := k.retireStore(); err != nil {
		return err
	}
	if err := k.writeRecord(); err != nil {
		return err
	}
	k.drop, k.committed = k.replaced, true
	return nil
}

// replacePin renames the prepared pin over the one in use, if there is one.
func (k *node) replacePin(s stagedPin) error {
	path := k.t.pin(s.dir, s.name)
	if err := fault("rename"); err != nil {
		return err
	}
	old, err := pinGet(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		k.held = append(k.held, old)
	}
	tmp := k.t.pin(s.dir, s.tmp)
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	k.undo.push("pin "+path+" back", func() error {
		err := os.Rename(path, tmp)
		if err == nil && old >= 0 {
			err = pinPut(old, path)
		}
		return err
	})
	return nil
}

// dropStrays unpins what an `up` before this one made and this one does not want:
// links first, so that the programs that hook something go before those that they call.
func (k *node) dropStrays() error {
	strays, err := k.strays()
	if err != nil {
		return err
	}
	for _, s := range strays {
		path := k.t.pin(s.dir, s.name)
		if !ours(k.cfg.Mode, s.dir, s.name, k.found) {
			k.log.Warnf("%s is not of kmesh-node: left alone", path)
			continue
		}
		if err := fault("stray"); err != nil {
			return attachError("unpin", path, err, "")
		}
		fd, err := pinGet(path)
		if err != nil {
			return attachError("open pin", path, err, "remove it")
		}
		k.held = append(k.held, fd)
		if err := os.Remove(path); err != nil {
			return attachError("unpin", path, err, "remove it")
		}
		k.undo.push("pin "+path+" back", func() error { return pinPut(fd, path) })
		k.change(fmt.Sprintf("removed: %s %s", s.dir, s.name))
	}
	return nil
}

// strays lists the pins of the tree that are not wanted, in the order of dropStrays.
func (k *node) strays() (l []pinName, err error) {
	for _, d := range []dir{linkDir, progDir, mapDir} {
		entries, err := os.ReadDir(k.t.dir(d))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, attachError("read directory", k.t.dir(d), err, "")
		}
		for _, e := range entries {
			if !k.isWanted(d, e.Name()) {
				l = append(l, pinName{d, e.Name()})
			}
		}
	}
	return l, nil
}

func (k *node) isWanted(d dir, name string) bool {
	if d == mapDir {
		_, ok := mapByName(k.cfg.Mode, name)
		return ok
	}
	if d == linkDir && isNICLink(name) {
		return k.nics[name]
	}
	return slices.ContainsFunc(k.rows, func(r program) bool {
		return r.name == name && (d == progDir || k.next.Links[name] != 0)
	})
}

// ours says whether a pin of that name is of kmesh-node: of this build's tables,
// of the record, or a prepared one of either.
func ours(m Mode, d dir, name string, rec *record) bool {
	base, _ := baseName(name)
	for _, n := range []string{name, base} {
		if _, ok := mapByName(m, n); ok && d == mapDir || d != mapDir && knownProgram(m, n) {
			return true
		}
		if _, ok := rec.ids(d)[n]; ok {
			return true
		}
	}
	return d == linkDir && isNICLink(name)
}

// writeRecord records what is there now. An `up` that changed nothing writes nothing.
func (k *node) writeRecord() error {
	n := &k.next
	n.Maps, n.Progs = map[string]uint32{}, map[string]uint32{}
	for name, fd := range k.fds {
		info, err := mapInfoOf(fd)
		if err != nil {
			return attachError("write record", "map "+name, err, "")
		}
		n.Maps[name] = info.ID
	}
	for name, fd := range k.progs {
		info, err := progInfoOf(fd)
		if err != nil {
			return attachError("write record", "program "+name, err, "")
		}
		n.Progs[name] = info.ID
	}
	n.Generation = k.found.Generation
	if k.found.same(n) {
		return nil
	}
	n.Generation++
	if err := fault("write record"); err != nil {
		return attachError("write record", k.t.meta(), err, "")
	}
	old := make([]byte, recordSize)
	if err := mapLookupBytes(k.recordFd, uint32(0), old); err != nil {
		return attachError("read record", k.t.meta(), err, "")
	}
	if err := writeRecord(k.recordFd, n); err != nil {
		return attachError("write record", k.t.meta(), err, "")
	}
	k.undo.push("write record back", func() error { return mapUpdateBytes(k.recordFd, uint32(0), old) })
	if err := fault("recorded"); err != nil {
		return attachError("write record", k.t.meta(), err, "")
	}
	return nil
}
