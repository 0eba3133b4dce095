// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// pinned calls f with a descriptor of everything pinned in one directory.
func pinned(dir string, f func(name string, fd int) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list pins: %w", err)
	}
	for _, e := range entries {
		fd, err := openPin(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		err = f(e.Name(), fd)
		closeFD(fd)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

// programs returns every pinned program.
func (s *sandbox) programs() ([]progInfo, error) {
	var all []progInfo
	err := pinned(s.pins("prog"), func(_ string, fd int) error {
		p, err := readProg(fd)
		all = append(all, p)
		return err
	})
	return all, err
}

// maps returns the memory, in bytes, of every map by its id: those pinned, those
// that a program uses, and those inside another.
func (s *sandbox) maps() (map[uint32]uint64, error) {
	progs, err := s.programs()
	if err != nil {
		return nil, err
	}
	var todo []uint32
	for _, p := range progs {
		todo = append(todo, p.Maps...)
	}
	err = pinned(s.pins("map"), func(_ string, fd int) error {
		id, _, err := mapMemory(fd)
		todo = append(todo, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	sizes := map[uint32]uint64{}
	for ; len(todo) > 0; todo = todo[1:] {
		if _, seen := sizes[todo[0]]; seen {
			continue
		}
		size, inner, err := visitMap(todo[0])
		if err != nil {
			return nil, err
		}
		sizes[todo[0]] = size
		todo = append(todo, inner...)
	}
	return sizes, nil
}

// visitMap returns the memory of a map and the ids of those inside it.
func visitMap(id uint32) (size uint64, inner []uint32, err error) {
	fd, err := openMap(id)
	if err != nil {
		return 0, nil, err
	}
	defer closeFD(fd)
	if _, size, err = mapMemory(fd); err != nil {
		return 0, nil, err
	}
	inner, err = innerMaps(fd)
	return size, inner, err
}

// mapMemory returns the id of the map behind fd and what the kernel charges for it.
func mapMemory(fd int) (id uint32, bytes uint64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		switch {
		case name == "memlock" && err == nil:
			bytes = n
		case name == "map_id" && err == nil:
			id = uint32(n)
		}
	}
	if id == 0 {
		return 0, 0, fmt.Errorf("descriptor %d is not a map's", fd)
	}
	return id, bytes, nil
}

// largestOf returns the program that the verifier had most work with.
func largestOf(progs []progInfo) (largest progInfo) {
	for _, p := range progs {
		if p.Verified > largest.Verified {
			largest = p
		}
	}
	return largest
}

// measureEmpty adds what `up` leaves in the kernel before anything is configured.
func (b *bench) measureEmpty() error {
	sizes, err := b.maps()
	if err != nil {
		return err
	}
	var total uint64
	for _, size := range sizes {
		total += size
	}
	progs, err := b.programs()
	if err != nil {
		return err
	}
	largest := largestOf(progs)
	b.report.add(
		row{
			Figure: "kernel memory of all maps, empty", Unit: "MB", Reference: some(70.7), Target: some(3),
			Ours: some(float64(total) / 1e6), Note: fmt.Sprintf("%d maps, inner ones and the programs' own data included", len(sizes)),
		},
		row{
			Figure: "largest program, verified instructions", Unit: "", Reference: some(79835), Target: some(20000),
			Ours: some(float64(largest.Verified)), Note: fmt.Sprintf("%s, of %d programs", largest.Name, len(progs)),
		},
	)
	return nil
}
