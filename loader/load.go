// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Load brings programs and maps into k, pinned: those of an earlier `up` of this
// very build where they are whole, else newly loaded ones over the maps that are
// there. Nothing of what is attached changes yet.
func (k *node) Load() error {
	if err := fault("load"); err != nil {
		return loadError("load", k.t.root(), err, "")
	}
	if err := k.openMaps(); err != nil {
		return err
	}
	why := k.adopt()
	if why != "" {
		k.log.Debugf("load programs anew: %s", why)
		if err := k.loadFresh(); err != nil {
			return err
		}
		k.change("programs loaded: " + why)
	} else if err := k.callMapsReady(); err != nil {
		return err
	}
	if err := k.enrolledMeanwhile(); err != nil {
		return loadError("repair enrolment", "km_netns", err, "")
	}
	if err := k.slotRepair(); err != nil {
		return loadError("repair enrolment", "km_netns_slot", err, "")
	}
	return k.writeSettings()
}

func (k *node) callMapsReady() error {
	if k.mapsReady == nil {
		return nil
	}
	return k.mapsReady()
}

// pin pins fd for good, and has it unpinned when this `up` fails.
func (k *node) pin(fd int, d dir, name string) error {
	path := k.t.pin(d, name)
	if err := fault("pin"); err != nil {
		return loadError("pin", path, err, "")
	}
	if err := pinPut(fd, path); err != nil {
		return loadError("pin", path, err, "remove what is there")
	}
	k.undo.push("unpin "+path, func() error { return os.Remove(path) })
	return nil
}

// prepin pins fd beside name; commit puts that pin in name's place.
func (k *node) prepin(fd int, d dir, name string) error {
	if err := fault("pin"); err != nil {
		return loadError("pin", k.t.pin(d, name), err, "")
	}
	for n := 1; ; n++ {
		tmp := staged(name, n)
		path := k.t.pin(d, tmp)
		err := pinPut(fd, path)
		if errors.Is(err, os.ErrExist) {
			continue // of an `up` that was killed: still in use, perhaps
		}
		if err != nil {
			return loadError("pin", path, err, "")
		}
		k.undo.push("unpin "+path, func() error { return os.Remove(path) })
		k.stage = append(k.stage, stagedPin{d, name, tmp})
		return nil
	}
}

// hold keeps descriptors open until Close.
func (k *node) hold(fds map[string]int) {
	for _, name := range sorted(fds) {
		k.held = append(k.held, fds[name])
	}
}

// loadFresh opens and loads the objects of the wanted rows. Maps that outlive the
// programs are shared with what is there; those of one load are new.
func (k *node) loadFresh() error {
	k.fresh = true
	old := map[string]int{}
	k.old = old
	for _, m := range mapsOf(k.cfg.Mode) {
		if fd, ok := k.fds[m.name]; ok && (m.perLoad || k.resized[m.name]) {
			o, err := objectOf(mapDir, fd)
			if err != nil {
				return loadError("load", m.name, err, "")
			}
			k.replaced = append(k.replaced, o)
			old[m.name] = fd
			delete(k.fds, m.name)
		}
	}
	if fd, ok := old["km_pstate"]; ok {
		k.oldPstate = fd
	}
	k.hold(old)
	if err := k.lockWriters(old); err != nil {
		return err
	}
	for _, name := range objects(k.cfg.Mode, k.rows) {
		o, err := openObject(k.cfg, name, k.rows)
		if err != nil {
			return err
		}
		k.objs = append(k.objs, o)
	}
	// The maps first: with them made, the rest shares nothing, and the verifier
	// takes one thread for each object.
	if err := k.loadObjects(k.objs[:1]); err != nil {
		return err
	}
	if err := k.migrateMaps(old); err != nil {
		return err
	}
	if err := k.callMapsReady(); err != nil {
		return err
	}
	beside := make(chan error, 1)
	go func() {
		if k.beside == nil {
			beside <- nil
			return
		}
		beside <- k.beside()
	}()
	err := k.loadObjects(k.objs[1:])
	if besideErr := <-beside; err == nil {
		err = besideErr
	}
	if err != nil {
		return err
	}
	for _, r := range k.rows {
		if err := k.prepin(k.progs[r.name], progDir, r.name); err != nil {
			return err
		}
	}
	return k.fillTails()
}

// loadObjects loads objects that share no map but those of k, all at once.
func (k *node) loadObjects(l []*object) error {
	errs := make([]error, len(l))
	var wg sync.WaitGroup
	for i, o := range l {
		if errs[i] = k.share(o); errs[i] != nil {
			break
		}
		wg.Go(func() {
			begin := time.Now()
			errs[i] = o.load(k.cfg.RunDir)
			k.log.Debugf("object %s: loaded in %v", o.name, time.Since(begin))
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err // the first of the table: one remedy at a time
		}
	}
	for _, o := range l {
		if err := k.take(o); err != nil {
			return err
		}
	}
	return nil
}

// share makes an object that is not loaded yet use the maps of k.
func (k *node) share(o *object) error {
	for _, name := range sorted(o.maps) {
		fd, ok := k.fds[name]
		if !ok {
			continue
		}
		if err := o.reuse(name, fd); err != nil {
			return loadError("load object", o.name, err, "run: kmesh-node down, then up again")
		}
	}
	return nil
}

// take takes over the programs and the new maps of a loaded object.
func (k *node) take(o *object) error {
	for name, p := range o.progs {
		k.progs[name] = p.FileDescriptor()
	}
	for _, name := range sorted(o.maps) {
		if _, ok := k.fds[name]; ok {
			continue
		}
		fd, err := unix.FcntlInt(uintptr(o.maps[name].FileDescriptor()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return loadError("load object", o.name, err, "raise the limit of open files")
		}
		k.fds[name] = fd
		m, _ := mapByName(k.cfg.Mode, name)
		put := k.pin
		if m.perLoad || k.resized[name] {
			put = k.prepin
		}
		made, err := objectOf(mapDir, fd)
		if err != nil {
			return loadError("load object", o.name, err, "")
		}
		k.loaded = append(k.loaded, made)
		if err := put(fd, mapDir, name); err != nil {
			return err
		}
	}
	return nil
}

// fillTails puts the programs into the new tail-call arrays.
func (k *node) fillTails() error {
	for _, r := range k.rows {
		if r.tail == nil {
			continue
		}
		if err := fault("tail"); err != nil {
			return loadError("fill tail calls", r.tail.array+" "+r.name, err, "")
		}
		var id uint32
		if err := mapLookup(k.fds[r.tail.array], r.tail.index, &id); err == nil {
			continue // in use: swapTails has it
		}
		fd := uint32(k.progs[r.name])
		if err := mapUpdate(k.fds[r.tail.array], r.tail.index, fd); err != nil {
			return loadError("fill tail calls", r.tail.array+" "+r.name, err, "")
		}
	}
	return nil
}

// swapTails puts the programs into the tail-call arrays that outlive a load, in
// place of those of the load before.
func (k *node) swapTails() error {
	for _, r := range k.rows {
		if r.tail == nil {
			continue
		}
		var id uint32
		fd := k.fds[r.tail.array]
		if err := mapLookup(fd, r.tail.index, &id); err != nil {
			return attachError("swap tail call", r.tail.array+" "+r.name, err, "")
		}
		prog, err := progInfoOf(k.progs[r.name])
		if err != nil {
			return attachError("swap tail call", r.name, err, "")
		}
		if id == prog.ID {
			continue
		}
		old, err := byID(progDir, id)
		if err != nil {
			return attachError("swap tail call", r.name, fmt.Errorf("open its program: %w", err), "")
		}
		k.held = append(k.held, old)
		if err := fault("swap tail"); err != nil {
			return attachError("swap tail call", r.tail.array+" "+r.name, err, "")
		}
		if err := mapUpdate(fd, r.tail.index, uint32(k.progs[r.name])); err != nil {
			return attachError("swap tail call", r.tail.array+" "+r.name, err, "")
		}
		k.undo.push("put tail call "+r.name+" back", func() error { return mapUpdate(fd, r.tail.index, uint32(old)) })
	}
	return nil
}
