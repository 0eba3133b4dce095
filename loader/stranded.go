// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// enrolledMeanwhile enrols who enrolled by the control address since an `up` was killed
// whose programs run already, on a km_netns that it had not yet put in the old one's
// place.
func (k *node) enrolledMeanwhile() error {
	entries, err := os.ReadDir(k.t.dir(mapDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		base, prepared := baseName(e.Name())
		own := slices.ContainsFunc(k.stage, func(s stagedPin) bool { return s.tmp == e.Name() })
		if !prepared || base != "km_netns" || own {
			continue
		}
		fd, err := pinGet(k.t.pin(mapDir, e.Name()))
		if err != nil {
			return err
		}
		k.held = append(k.held, fd)
		if err := k.enrolFrom(fd); err != nil {
			return err
		}
	}
	return nil
}

// enrolFrom enrols what is in another km_netns, if the programs that are attached use it.
func (k *node) enrolFrom(fd int) error {
	used, err := k.attachedUses(fd)
	if err != nil || !used {
		return err
	}
	m, _ := mapByName(k.cfg.Mode, "km_netns")
	t, err := k.transfer(m, fd)
	if err != nil {
		return err
	}
	t.to = k.fds["km_netns"]
	l, err := t.read()
	if err != nil {
		return err
	}
	for _, c := range l {
		err := bpfmap.Insert(t.to, c.key, c.value)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return err
		}
		k.undo.push("unenroll", func() error { return k.release(binary.NativeEndian.Uint64(c.key)) })
		k.change(fmt.Sprintf("enrolled: network namespace %d, by the programs of an up that was killed", binary.NativeEndian.Uint64(c.key)))
	}
	return nil
}

// attachedUses says whether the program of connect that is attached uses a map.
func (k *node) attachedUses(fd int) (bool, error) {
	info, err := mapInfoOf(fd)
	if err != nil {
		return false, err
	}
	link, err := pinGet(k.t.pin(linkDir, "sockconn4"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	k.held = append(k.held, link)
	l, err := linkInfoOf(link)
	if err != nil {
		return false, err
	}
	prog, err := byID(progDir, l.Prog)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	k.held = append(k.held, prog)
	ids, err := mapsOfProgram(prog)
	return slices.Contains(ids, info.ID), err
}
