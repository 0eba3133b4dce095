// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// A map that another build laid out otherwise gives way to a new one, which gets its
// content before any program or writer sees it. Until commit the old one stays pinned and
// in use, so that a failure or a kill changes nothing. Writers are kept out meanwhile by
// their own locks; what the old programs wrote since the copy is brought over once no run
// of them is left.

// lockWriters keeps out who would write to maps that are about to be copied: those who
// change what is enrolled, then those of the configuration.
func (k *node) lockWriters(old map[string]int) (err error) {
	// Of these three the writer of workload mode finds out by itself that they gave way.
	found := []string{"km_policy", "km_pstate", "km_flow"}
	gives := func(m mapRow) bool {
		_, ok := old[m.name]
		return ok && !m.perLoad && !slices.Contains(found, m.name)
	}
	if !slices.ContainsFunc(mapsOf(k.cfg.Mode), gives) {
		return nil
	}
	if k.pods, err = takePodsLock(k.cfg, "migrate maps"); err != nil {
		return err
	}
	path := k.cfg.StoreLock()
	if k.cfg.Mode == Ads {
		// It goes with every map of the store. Else the store of this `up` takes its lock.
		fd, gives := old["km_meta"]
		if !gives {
			return nil
		}
		meta, err := mapInfoOf(fd)
		if err != nil {
			return loadError("migrate maps", "km_meta", err, "")
		}
		path = storeLock(meta.ID)
	}
	k.store, err = takeStoreLock(path, "migrate maps", "try again, or give a longer --lock-timeout", k.cfg.LockTimeout)
	return err
}

// migrateMaps fills the new maps with what the old ones hold.
func (k *node) migrateMaps(old map[string]int) error {
	for _, m := range mapsOf(k.cfg.Mode) {
		from, gives := old[m.name]
		if !gives || m.perLoad {
			continue
		}
		v := k.fates[m.name]
		k.change(fmt.Sprintf("map %s: %s: %s", m.name, v.fate, v.why))
		if v.fate != migrate {
			continue
		}
		if err := k.migrateMap(m, from); err != nil {
			var no *cannotMove
			if errors.As(err, &no) {
				return k.cannotMigrate(m, err)
			}
			return loadError("migrate map", m.name, err, "")
		}
	}
	return nil
}

func (k *node) migrateMap(m mapRow, from int) error {
	if err := fault("migrate"); err != nil {
		return err
	}
	t, err := k.transfer(m, from)
	if err != nil {
		return err
	}
	t.to = k.fds[m.name]
	l, err := t.read()
	if err != nil {
		return err
	}
	if err := t.write(l); err != nil {
		return err
	}
	for _, path := range sorted(t.dropped) {
		k.log.Warnf("map %s: %s is not in this build: it was set in %d entries, and is dropped", m.name, path, t.dropped[path])
	}
	if m.live {
		k.moved = append(k.moved, t)
	}
	if m.name == "km_netns" {
		// New programs may have enrolled a namespace before this is undone, which
		// comes after their links are.
		k.undo.push("bring enrolments back", func() error { return k.enrolledBack(t) })
	}
	return nil
}

// carrier reads the km_netns of the other mode, which another build may have made.
func (k *node) carrier(fd int) (*transfer, error) {
	m, _ := mapByName(k.cfg.Mode, "km_netns")
	return k.transfer(m, fd)
}

// followMaps brings over what programs wrote to the old maps since they were copied: no
// link runs the old programs any more.
func (k *node) followMaps() error {
	if len(k.moved) == 0 && !k.resized["km_netns_slot"] {
		return nil
	}
	if err := fault("follow"); err != nil {
		return loadError("migrate map", k.t.root(), err, "")
	}
	if err := bpfmap.Grace(); err != nil {
		return loadError("migrate map", k.t.root(), err, "")
	}
	for _, t := range k.moved {
		if err := t.follow(); err != nil {
			return loadError("migrate map", t.name, fmt.Errorf("bring over what was written meanwhile: %w", err), "")
		}
	}
	if err := k.slotRepair(); err != nil {
		return loadError("repair enrolment", "km_netns_slot", err, "")
	}
	return nil
}

// enrolledBack enrols in the old map what was enrolled in the new one.
func (k *node) enrolledBack(t *transfer) error {
	if err := bpfmap.Grace(); err != nil {
		return err
	}
	back, err := t.back()
	if err != nil {
		return err
	}
	if err := back.follow(); err != nil {
		return err
	}
	slots, ok := k.old["km_netns_slot"]
	if !ok || back.changed == 0 {
		return nil
	}
	// Its slots may be others than this build knows: each is made to ask km_netns.
	info, err := mapInfoOf(slots)
	for i := uint32(0); err == nil && i < info.MaxEntries; i++ {
		err = mapUpdate(slots, i, askNetns)
	}
	return err
}

// retireStore tells writers of ads mode that have maps open which gave way: the next of
// their calls finds another layout.
func (k *node) retireStore() error {
	fd, gave := k.old["km_meta"]
	if !gave || k.cfg.Mode != Ads {
		return nil
	}
	l, err := k.kernel.of(fd)
	if err != nil {
		return loadError("retire", "km_meta", err, "")
	}
	before := make([]byte, l.ValueSize)
	if err := mapLookupBytes(fd, uint32(0), before); err != nil {
		return loadError("retire", "km_meta", err, "")
	}
	after := slices.Clone(before)
	abi, changed := l.word("abi", metaABI), l.word("entries", metaEntries)
	binary.NativeEndian.PutUint32(after[abi:], abiGone)
	binary.NativeEndian.PutUint64(after[changed:], binary.NativeEndian.Uint64(after[changed:])+1)
	if err := mapUpdateBytes(fd, uint32(0), after); err != nil {
		return loadError("retire", "km_meta", err, "")
	}
	k.undo.push("bring km_meta back", func() error { return mapUpdateBytes(fd, uint32(0), before) })
	return nil
}

// word is where a field lies in the map's value; without BTF it is where this build has it.
func (l layout) word(name string, here uint32) uint32 {
	if l.value == nil {
		return here
	}
	for _, f := range l.value.fields {
		if f.name == name {
			return f.off
		}
	}
	return here
}

// unlockStore lets writers on. The file of a store that gave way goes.
func (k *node) unlockStore() error {
	if k.store == nil {
		return nil
	}
	f := k.store
	k.store = nil
	var err error
	if k.committed && k.cfg.Mode == Ads && k.resized["km_meta"] {
		err = removeFile(f.Name())
	}
	return errors.Join(err, f.Close())
}

// abiOf reads the layout of what a map describes, 0 where nothing was written yet.
func (k *node) abiOf(fd int, here uint32) (uint32, error) {
	l, err := k.kernel.of(fd)
	if err != nil {
		return 0, err
	}
	b := make([]byte, max(l.ValueSize, here+4))
	if err := mapLookupBytes(fd, uint32(0), b); err != nil {
		return 0, err
	}
	at := l.word("abi", here)
	if int(at)+4 > len(b) {
		return 0, unix.EINVAL
	}
	return binary.NativeEndian.Uint32(b[at:]), nil
}
