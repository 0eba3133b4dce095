// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Unpinned is a program or a link of kmesh-node that no pin holds: another process
// does, or the kernel is about to free it.
type Unpinned struct {
	Kind string `json:"kind"`
	ID   uint32 `json:"id"`
	Name string `json:"name"`
}

// lookAround looks for what is beside the data plane and should not be.
func (s *Status) lookAround(cfg *Config, t tree, rec *record) (err error) {
	if s.Run, err = livingRun(cfg); err != nil {
		return err
	}
	s.Remedy = repairRemedy(s.Mode, s.Run)
	if there, err := cgroup2.check(rec.Cgroup); err == nil && there {
		l, err := foreignOnCgroup(s.Mode, rec.Cgroup, s.own)
		if err != nil {
			return err
		}
		s.Foreign = append(s.Foreign, l...)
		if err := s.readOutside(rec.Cgroup); err != nil {
			return err
		}
	} else if rec.Cgroup != "" {
		s.problem("cgroup2 is not mounted at %s any more", rec.Cgroup)
	}
	if err := s.readPins(t, rec); err != nil {
		return err
	}
	l, err := s.unpinned(rec)
	s.Unpinned = append(s.Unpinned, l...)
	return err
}

// livingRun is the process id of a `run` that lives, "" for none.
func livingRun(cfg *Config) (string, error) {
	pid, held, err := lockHeld(cfg.RunDir, lockName(cfg.BpfFsPath, runLock))
	if held && pid == "" {
		pid = "unknown"
	}
	return pid, err
}

// repairRemedy is what brings the data plane back to what it should be. Beside a live
// `run` an `up` of the same build does nothing.
func repairRemedy(m Mode, run string) string {
	if run != "" {
		return "run, pid " + run + ", repairs that at its next turn; at once: kill -HUP " + run
	}
	return "run: kmesh-node --mode " + string(m) + " up"
}

// readOutside finds the processes that the programs do not see.
func (s *Status) readOutside(cgroup string) (err error) {
	all := s.Settings.Manage == manageAll
	namespaces := map[[2]uint64]bool{}
	if !all && len(s.cookies) > 0 {
		if err := s.findNamespaces(); err != nil {
			return err
		}
		for _, c := range s.cookies {
			for _, p := range s.where[c] {
				if id, err := identityOf(p); err == nil {
					namespaces[id] = true
				}
			}
		}
	}
	s.Outside, err = findOutside(cgroup, namespaces, all)
	return err
}

// findNamespaces looks once for all namespaces.
func (s *Status) findNamespaces() (err error) {
	if s.where == nil {
		s.where, err = findNamespaces()
	}
	return err
}

// readPins finds what is in kmesh-node's tree and has no owner, and what an `up` that
// was killed has left.
func (s *Status) readPins(t tree, rec *record) error {
	known := map[string]bool{t.meta(): true, tree{t.fs, string(otherMode(s.Mode))}.root(): true}
	for _, d := range t.directories() {
		known[d] = true
	}
	for _, d := range []string{t.top(), t.root()} {
		entries, err := os.ReadDir(d)
		if err != nil {
			return fmt.Errorf("read directory: %w", err)
		}
		for _, e := range entries {
			if path := filepath.Join(d, e.Name()); !known[path] {
				s.Unowned = append(s.Unowned, path)
			}
		}
	}
	for _, d := range pinDirs {
		entries, err := os.ReadDir(t.dir(d))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("read directory: %w", err)
		}
		for _, e := range entries {
			name := e.Name()
			_, inTable := mapByName(s.Mode, name)
			switch {
			case !ours(s.Mode, d, name, rec):
				s.Unowned = append(s.Unowned, t.pin(d, name))
			case rec.Build == "", rec.ids(d)[name] != 0, d == mapDir && inTable, d == linkDir && isNICLink(name):
			default:
				s.problem("%s %s is left of an up that was killed", kindOf(d), name)
			}
		}
	}
	return nil
}

// unpinned finds the programs that use this mode's maps, and the links that run its
// programs, which are in no record. Programs are told by their names first, which costs
// least; maps are not opened by id (see kernelObject.exists).
func (s *Status) unpinned(rec *record) (l []Unpinned, err error) {
	maps := map[uint32]bool{}
	for _, m := range s.Maps {
		maps[m.ID] = true
	}
	err = eachID(progDir, func(id uint32, fd int) error {
		info, err := progInfoOf(fd)
		if err != nil || s.own[id] || !knownProgram(s.Mode, info.Name) {
			return err
		}
		used, err := mapsOfProgram(fd)
		if err != nil {
			return err
		}
		for _, m := range used {
			if maps[m] {
				l = append(l, Unpinned{"program", id, info.Name})
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list programs: %w", err)
	}
	links := map[uint32]bool{}
	for _, k := range s.Links {
		links[k.ID] = true
	}
	for _, id := range rec.Links { // a lost pin is a problem already
		links[id] = true
	}
	byProgram := map[uint32]string{}
	for name, id := range rec.Progs {
		byProgram[id] = name
	}
	err = eachID(linkDir, func(id uint32, fd int) error {
		info, err := linkInfoOf(fd)
		if name, ours := byProgram[info.Prog]; err == nil && ours && !links[id] {
			l = append(l, Unpinned{"link", id, name})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	return l, nil
}

// eachID opens every object of a kind in the kernel. One that goes in between is left out.
func eachID(d dir, do func(id uint32, fd int) error) error {
	for id := uint32(0); ; {
		next, err := nextID(d, id)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return err
		}
		id = next
		fd, err := byID(d, id)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAGAIN) {
			continue // gone by now, or a link that is not made yet
		}
		if err != nil {
			return err
		}
		if err := errors.Join(do(id, fd), unix.Close(fd)); err != nil {
			return err
		}
	}
}
