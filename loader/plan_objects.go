// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"os"
	"sync/atomic"
)

// pinned says whether there is a pin of that name.
func (k *node) pinned(d dir, name string) bool {
	if k.plan.bare {
		return false
	}
	_, err := os.Lstat(k.t.pin(d, name))
	return err == nil
}

// lookObjects is Load without its effect: maps, programs and tail calls.
func (k *node) lookObjects() error {
	if !k.plan.bare {
		if err := k.openMaps(); err != nil {
			return err
		}
	}
	why := k.adopt()
	k.fresh = why != ""
	for _, m := range mapsOf(k.cfg.Mode) {
		action, why := k.lookMap(m)
		k.add(action, "map", m.name, why)
	}
	for _, r := range k.rows {
		id := k.found.Progs[r.name]
		switch {
		case k.fresh && k.pinned(progDir, r.name):
			k.add(ActionUpdate, "program", r.name, why)
		case k.fresh && id != 0:
			k.add(ActionRepair, "program", r.name, why)
		case k.fresh:
			k.add(ActionCreate, "program", r.name, "")
		case k.plan.lost[pinName{progDir, r.name}]:
			k.add(ActionRepair, "program", r.name, "its pin was lost")
		default:
			k.add(ActionKeep, "program", r.name, "")
		}
	}
	for _, r := range k.rows {
		if r.tail != nil {
			k.lookTail(r)
		}
	}
	return nil
}

// lookMap says what becomes of a map.
func (k *node) lookMap(m mapRow) (action, why string) {
	_, there := k.fds[m.name]
	switch {
	case !there && k.found.Maps[m.name] != 0:
		return ActionRepair, "it was lost"
	case !there:
		return ActionCreate, ""
	case k.fresh && m.perLoad:
		return ActionRebuild, "it belongs to one load of the programs"
	case k.fresh && k.resized[m.name]:
		return string(k.fates[m.name].fate), k.fates[m.name].why
	case k.plan.lost[pinName{mapDir, m.name}]:
		return ActionRepair, "its pin was lost"
	}
	return ActionKeep, ""
}

// lookTail says what becomes of a program's place in a prog array.
func (k *node) lookTail(r program) {
	name := r.tail.array + " " + r.name
	fd, there := k.fds[r.tail.array]
	var id uint32
	switch {
	case !k.fresh:
		k.add(ActionKeep, "tail call", name, "")
	case !there:
		k.add(ActionCreate, "tail call", name, "")
	case k.found.Build == k.next.Build && (mapLookup(fd, r.tail.index, &id) != nil || id != k.found.Progs[r.name]):
		k.add(ActionRepair, "tail call", name, "it was lost or replaced")
	default:
		k.add(ActionUpdate, "tail call", name, "")
	}
}

// lookSettings is writeSettings, and writeNode, without effect.
func (k *node) lookSettings() error {
	err := lookSetting(k, "km_config", k.cfg.Settings.kernel(k.cfg.Mode, k.next.Variant))
	if err != nil || k.cfg.Mode != Workload {
		return err
	}
	if err := lookSetting(k, "km_node", k.cfg.Workload.kernel()); err != nil {
		return err
	}
	fd, there := k.fds["km_pstate"]
	if !there {
		k.add(ActionCreate, "settings", "km_pstate", "")
		return nil
	}
	exempt, native := k.cfg.judging()
	same := false
	err = withPstate(fd, func(p *kwPstate) {
		same = p.half_shift != 0 && atomic.LoadUint32((*uint32)(&p.exempt)) == exempt && atomic.LoadUint32((*uint32)(&p.native)) == native
	})
	if err != nil {
		return loadError("read settings", "km_pstate", err, "")
	}
	k.addSetting("km_pstate", same)
	return nil
}

// lookSetting compares what the one entry of a map holds with what it is to hold.
func lookSetting[S comparable](k *node, name string, want S) error {
	fd, there := k.fds[name]
	if !there || k.resized[name] {
		k.add(ActionCreate, "settings", name, "")
		return nil
	}
	var have S
	if err := mapLookup(fd, uint32(0), &have); err != nil {
		return loadError("read settings", name, err, "")
	}
	k.addSetting(name, have == want)
	return nil
}

func (k *node) addSetting(name string, same bool) {
	if same {
		k.add(ActionKeep, "settings", name, "")
		return
	}
	k.add(ActionUpdate, "settings", name, "they are not those asked for")
}
