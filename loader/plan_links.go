// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// willBe stands for the id of a link that is not there yet.
const willBe = ^uint32(0)

// lookAttached is Attach without its effect.
func (k *node) lookAttached() error {
	cg, err := k.lookCgroup()
	if err != nil {
		return err
	}
	k.next.Links = map[string]uint32{}
	if k.cfg.Mode == Ads {
		if err := k.lookEnrolled(); err != nil {
			return err
		}
	}
	for _, r := range k.rows {
		look := k.lookLink
		switch r.hook.kind {
		case byTailCall:
			continue
		case onPodNIC:
			look = k.lookPods
		}
		if err := look(r, cg); err != nil {
			return err
		}
	}
	return nil
}

// lookCgroup finds what links are to be on. Where `up` is to mount cgroup2 that is the
// root of this process's cgroup namespace; id is 0 where that one's is not known.
func (k *node) lookCgroup() (cgroup, error) {
	there, err := cgroup2.check(k.cfg.Cgroup2Path)
	if err != nil {
		return cgroup{}, err
	}
	if there {
		cg, err := openCgroup(k.cfg.Cgroup2Path)
		if err != nil {
			return cg, attachError("open cgroup", k.cfg.Cgroup2Path, err, "give --cgroup2-path a directory of cgroup2")
		}
		k.held = append(k.held, cg.fd)
		return cg, nil
	}
	cg := cgroup{fd: -1}
	m, err := readMounts(func(m *mountPoint) bool { return m.fstype == cgroup2.name && m.fsRoot == "/" })
	if err != nil {
		return cg, notReady("mount "+cgroup2.name, k.cfg.Cgroup2Path, err, "mount /proc")
	}
	var st unix.Stat_t
	if m != nil && unix.Stat(m.path, &st) == nil {
		cg.id = st.Ino
	}
	return cg, nil
}

// lookLink says what becomes of the link of a row that has one.
func (k *node) lookLink(r program, cg cgroup) error {
	name := r.name
	if k.plan.bare {
		return k.lookNoLink(r, cg)
	}
	old, info, err := k.ownLink(r)
	if err != nil {
		return err
	}
	if old < 0 {
		return k.lookNoLink(r, cg)
	}
	fits, why := k.fits(r, info, cg)
	if !fits {
		action := ActionRepair
		if r.hook.kind == onCgroup && k.found.Cgroup != k.next.Cgroup {
			action = ActionUpdate
		}
		return k.lookNewLink(r, cg, action, why)
	}
	k.next.Links[name] = willBe
	if !k.fresh && info.Prog == k.found.Progs[name] {
		k.next.Links[name] = info.ID
		if k.plan.lost[pinName{linkDir, name}] {
			k.add(ActionRepair, "link", name, "its pin was lost")
			return nil
		}
		k.add(ActionKeep, "link", name, "")
		return nil
	}
	action := ActionUpdate
	why = ""
	if !k.fresh {
		action = ActionRepair
		why = fmt.Sprintf("it runs program %d, not %d", info.Prog, k.found.Progs[name])
	}
	if r.hook.swaps() {
		k.next.Links[name] = info.ID
		k.add(action, "link", name, why)
		return nil
	}
	k.add(action, "link", name, joinWords(why, "it takes no other program: a new one takes its place"))
	return nil
}

// fits says whether a link is where the row is to be, and if not, why.
func (k *node) fits(r program, info linkInfo, cg cgroup) (bool, string) {
	switch r.hook.kind {
	case onSockMap:
		m, err := mapInfoOf(k.FD(r.hook.target))
		return err == nil && info.onSockMap(m.ID), "it is not on " + r.hook.target
	case onCgroup:
		if cg.id == 0 && info.Cgroup != 0 {
			cg.id = info.Cgroup
		}
		if info.Type == linkType[onCgroup] && info.Cgroup == 0 {
			return false, "it was detached, or its cgroup is gone"
		}
		return r.hook.matches(info, cg), "it is not on " + k.cfg.Cgroup2Path
	}
	return r.hook.matches(info, cg), "it is not on " + r.hook.String()
}

// lookNewLink is newLink without its effect.
func (k *node) lookNewLink(r program, cg cgroup, action, why string) error {
	if err := k.inTheWay(r, cg); err != nil {
		return err
	}
	k.next.Links[r.name] = willBe
	k.add(action, "link", r.name, why)
	return nil
}

// inTheWay is the error of a new link on a cgroup where another's program lets nobody in.
func (k *node) inTheWay(r program, cg cgroup) error {
	if r.hook.kind != onCgroup || cg.fd < 0 {
		return nil
	}
	_, alone, err := queryCgroup(cg.fd, r.hook.attachType, false)
	if err == nil && alone {
		err = unix.EPERM
	}
	if err != nil {
		return attachError("attach", r.name+" at "+r.hook.String(), err, r.hook.remedy(err))
	}
	return nil
}

// lookNoLink is for a row that has no link: one is to be made, or its program is
// attached without one.
func (k *node) lookNoLink(r program, cg cgroup) error {
	had := k.found.Links[r.name] != 0
	if target := k.FD(r.hook.target); r.hook.kind == onSockMap && k.found.Unlinked[r.name] != 0 && target >= 0 {
		id, err := attachedOldWay(target, r, k.found)
		if err != nil {
			return attachError("attach", r.name+" at "+r.hook.String(), err, "")
		}
		switch {
		case k.fresh:
			k.add(ActionUpdate, "link", r.name, "it is attached without a link")
		case id == k.found.Progs[r.name]:
			k.next.Unlinked = map[string]uint32{r.name: id}
			k.add(ActionKeep, "link", r.name, "it is attached without a link")
		default:
			k.add(ActionRepair, "link", r.name, fmt.Sprintf("%s has program %d, not %d", r.hook, id, k.found.Progs[r.name]))
		}
		return nil
	}
	if had {
		return k.lookNewLink(r, cg, ActionRepair, "it was lost")
	}
	return k.lookNewLink(r, cg, ActionCreate, "")
}

// lookStrays is dropStrays without its effect.
func (k *node) lookStrays() error {
	if k.plan.bare {
		return nil
	}
	l, err := k.strays()
	if err != nil {
		return err
	}
	for _, s := range l {
		switch kind := kindOf(s.dir); {
		case !ours(k.cfg.Mode, s.dir, s.name, k.found):
			k.add(ActionKeep, "pin", k.t.pin(s.dir, s.name), "it is not of kmesh-node: left alone")
		case s.dir == linkDir && isNICLink(s.name):
			k.add(ActionDelete, kind, s.name, "its device, or the enrolment of its namespace, is gone")
		default:
			k.add(ActionDelete, kind, s.name, "nothing uses it any more")
		}
	}
	return nil
}

func kindOf(d dir) string {
	if d == progDir {
		return "program"
	}
	return string(d)
}

// lookRecord says whether the record is written.
func (k *node) lookRecord() error {
	switch {
	case !k.pinnedRecord():
		k.add(ActionCreate, "record", "meta", "")
		return nil
	case k.fresh:
		k.add(ActionUpdate, "record", "meta", "")
		return nil
	}
	n := &k.next
	n.Maps, n.Progs, n.Generation = k.found.Maps, k.found.Progs, k.found.Generation
	if k.found.same(n) {
		k.add(ActionKeep, "record", "meta", "")
		return nil
	}
	k.add(ActionUpdate, "record", "meta", "")
	return nil
}

func (k *node) pinnedRecord() bool {
	if k.plan.bare {
		return false
	}
	_, err := os.Lstat(k.t.meta())
	return err == nil
}

// lookOther is dropOther without its effect.
func (k *node) lookOther() error {
	if k.other == nil {
		return nil
	}
	m := otherMode(k.cfg.Mode)
	t := tree{k.cfg.BpfFsPath, string(m)}
	const why = "its mode is taken down"
	foreign := false
	for _, d := range []dir{linkDir, progDir, mapDir} {
		entries, err := os.ReadDir(t.dir(d))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return attachError("read directory", t.dir(d), err, "")
		}
		for _, e := range entries {
			c := Change{ActionDelete, kindOf(d), e.Name(), why, m}
			if !ours(m, d, e.Name(), k.other) {
				foreign = true
				c = Change{ActionKeep, "pin", t.pin(d, e.Name()), "it is not of kmesh-node: left alone", m}
			}
			k.plan.Changes = append(k.plan.Changes, c)
		}
	}
	if foreign {
		return nil // its record and directories stay
	}
	k.plan.Changes = append(k.plan.Changes, Change{ActionDelete, "record", filepath.Base(t.meta()), why, m})
	for _, path := range slices.Backward(t.directories()[1:]) {
		if _, err := os.Lstat(path); err == nil {
			k.plan.Changes = append(k.plan.Changes, Change{ActionDelete, "directory", path, why, m})
		}
	}
	return nil
}

func joinWords(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
