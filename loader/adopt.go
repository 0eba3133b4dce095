// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// openMaps opens the maps of the tree that are there. One whose pin was lost but
// which a program still holds is pinned again, so that its content stays in use.
func (k *node) openMaps() error {
	for _, m := range mapsOf(k.cfg.Mode) {
		id := k.found.Maps[m.name]
		if m.perLoad || m.tails {
			// The kernel empties a prog array when its last pin or descriptor
			// goes, but in its own time: full now, it may be empty soon.
			id = 0
		}
		fd, err := k.openOurs(mapDir, m.name, id)
		if err != nil {
			return err
		}
		if fd >= 0 {
			k.fds[m.name] = fd
		}
	}
	if err := k.findFates(); err != nil {
		return err
	}
	return k.checkABI()
}

// openOurs opens the pin of that name, or the object of that id (0: unknown) and
// pins it; -1 where neither is there.
func (k *node) openOurs(d dir, name string, id uint32) (int, error) {
	path := k.t.pin(d, name)
	fd, err := pinGet(path)
	switch {
	case err == nil && objectKind(fd) == string(d):
		return fd, nil
	case err == nil:
		return -1, errors.Join(loadError("open pin", path, fmt.Errorf("a %s is pinned there", objectKind(fd)),
			"remove it: it is not of kmesh-node"), unix.Close(fd))
	case errors.Is(err, unix.EACCES): // the kernel's word for what is no pin
		return -1, loadError("open pin", path, err, "remove it: it is not of kmesh-node")
	case !errors.Is(err, os.ErrNotExist):
		return -1, loadError("open pin", path, err, "run it again")
	case id == 0:
		return -1, nil
	}
	if fd, err = byID(d, id); err != nil {
		return -1, nil // it went with its pin
	}
	if k.plan != nil {
		k.plan.lost[pinName{d, name}] = true
		return fd, nil
	}
	if err := k.pin(fd, d, name); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	k.change(fmt.Sprintf("pinned again: %s %s", d, name))
	return fd, nil
}

// adopt takes over the programs of an earlier `up` when this build made them and
// they are whole; otherwise it says why not.
func (k *node) adopt() (why string) {
	switch {
	case k.found.Build == "":
		return "first start"
	case k.found.Build != k.next.Build:
		return "another build, or another variant of it"
	}
	for _, m := range mapsOf(k.cfg.Mode) {
		if k.resized[m.name] {
			return "map " + m.name + " gives way: " + k.fates[m.name].why
		}
		fd, ok := k.fds[m.name]
		if info, err := mapInfoOf(fd); !ok || err != nil || info.ID != k.found.Maps[m.name] {
			return "map " + m.name + " was lost or replaced"
		}
	}
	progs := map[string]int{}
	for _, r := range k.rows {
		fd, err := k.openOurs(progDir, r.name, k.found.Progs[r.name])
		if err != nil || fd < 0 {
			k.hold(progs)
			return "program " + r.name + " was lost"
		}
		progs[r.name] = fd
		if info, err := progInfoOf(fd); err != nil || info.ID != k.found.Progs[r.name] {
			k.hold(progs)
			return "program " + r.name + " was replaced"
		}
	}
	for _, r := range k.rows {
		if r.tail == nil {
			continue
		}
		var id uint32
		if err := mapLookup(k.fds[r.tail.array], r.tail.index, &id); err != nil || id != k.found.Progs[r.name] {
			k.hold(progs)
			return "tail call to " + r.name + " was lost"
		}
	}
	k.progs = progs
	k.hold(progs)
	return ""
}

// checkABI refuses the configuration of another layout before any program sees it.
func (k *node) checkABI() error {
	name, want, at := "km_meta", abiVersion, metaABI
	if k.cfg.Mode == Workload {
		name, want, at = "km_wmeta", workloadABI, wmetaABI
	}
	fd, ok := k.fds[name]
	if !ok {
		return nil
	}
	abi, err := k.abiOf(fd, at)
	if err != nil {
		return loadError("read map", name, err, "run: kmesh-node down, then up again")
	}
	if abi != 0 && abi != want {
		return &exit.Error{Code: exit.Load, Step: "read map", Object: name,
			Err:    fmt.Errorf("what it describes has layout %d, this build's is %d", abi, want),
			Remedy: remedyLayout}
	}
	return nil
}
