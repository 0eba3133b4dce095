// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

func (s *Status) readPrograms(t tree, rec *record) error {
	for _, r := range wanted(s.Mode, rec.Variant) {
		id, err := s.readProgram(t, rec, r)
		if err != nil {
			return err
		}
		read := s.readLink
		switch {
		case r.hook.kind == byTailCall:
			continue
		case r.hook.kind == onPodNIC:
			read = s.readNICs
		case rec.Unlinked[r.name] != 0:
			read = s.readUnlinked
		}
		if err := read(t, rec, r, id); err != nil {
			return err
		}
	}
	return nil
}

// readProgram returns the id of the row's program, 0 where its pin is lost.
func (s *Status) readProgram(t tree, rec *record, r program) (uint32, error) {
	fd, err := s.open(t, progDir, r.name, rec.Progs[r.name])
	if err != nil || fd < 0 {
		return 0, err
	}
	p, err := progInfoOf(fd)
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return 0, fmt.Errorf("program %s: %w", r.name, err)
	}
	s.Programs = append(s.Programs, ProgramStatus{s.Mode, r.name, p.ID, fmt.Sprintf("%x", p.Tag), r.hook.String(), p.RunCount, p.RunTime, p.Verified})
	return p.ID, nil
}

func (s *Status) readLink(t tree, rec *record, r program, prog uint32) error {
	fd, err := s.open(t, linkDir, r.name, rec.Links[r.name])
	if err != nil || fd < 0 {
		return err
	}
	info, err := linkInfoOf(fd)
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("link %s: %w", r.name, err)
	}
	l := LinkStatus{Name: r.name, ID: info.ID, Type: linkTypeName(info.Type), Target: r.hook.target, Program: info.Prog, Alive: true}
	if r.hook.kind == onCgroup {
		l.Target = rec.Cgroup
		l.Alive = info.Cgroup != 0
		if !l.Alive {
			s.problem("link %s was detached, or its cgroup is gone", r.name)
		}
	}
	if info.Prog != prog && prog != 0 {
		s.problem("link %s runs program %d, not %d", r.name, info.Prog, prog)
	}
	s.Links = append(s.Links, l)
	return nil
}

// readUnlinked is for a program that is attached without a link.
func (s *Status) readUnlinked(t tree, rec *record, r program, prog uint32) error {
	fd, err := s.open(t, mapDir, r.hook.target, rec.Maps[r.hook.target])
	if err != nil || fd < 0 {
		return err
	}
	id, err := attachedOldWay(fd, r, rec)
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("program at %s: %w", r.hook, err)
	}
	if id != prog && prog != 0 {
		s.problem("%s has program %d, not %d", r.hook, id, prog)
	}
	s.Links = append(s.Links, LinkStatus{Name: r.name, Type: "no link", Target: r.hook.target, Program: id, Alive: id != 0})
	return nil
}

// readNICs reads the links on devices of pods, and looks for devices that have none.
func (s *Status) readNICs(t tree, _ *record, _ program, prog uint32) error {
	links, err := t.nicLinks()
	if err != nil || len(links) == 0 && len(s.cookies) == 0 {
		return err
	}
	if err := s.findNamespaces(); err != nil {
		return err
	}
	where := s.where
	slices.Sort(s.cookies)
	for _, c := range s.cookies {
		path := fmt.Sprintf("namespace %d", c)
		devices := map[string]string{}
		var p pod
		if len(where[c]) > 0 {
			path = where[c][0]
			if p, err = lookInto(c, path); err != nil {
				s.problem("enrolled %s: %v", path, err)
			}
		}
		for _, d := range p.nics {
			devices[nicLink(c, d.index)] = d.name
			s.readForeign(d, path)
		}
		alive := 0
		for _, name := range links[c] {
			ok, err := s.readNIC(t, name, path, devices[name], prog)
			if err != nil {
				return err
			}
			if ok {
				alive++
				delete(devices, name)
			}
		}
		for _, name := range sorted(devices) {
			s.problem("device %s of %s is enrolled and not judged", devices[name], path)
		}
		if len(where[c]) == 0 && alive == 0 {
			s.problem("enrolled %s is gone, or not in sight from here", path)
		}
		delete(links, c)
	}
	for _, l := range links {
		for _, name := range l {
			s.problem("link %s is of no enrolled namespace", name)
		}
	}
	return nil
}

// readForeign adds the XDP programs of others on a pod's device.
func (s *Status) readForeign(d nic, path string) {
	for _, id := range d.xdp {
		if !s.own[id] {
			s.Foreign = append(s.Foreign, Foreign{Hook: xdpHook, Target: "device " + d.name + " of " + path, ID: id, Name: progName(id), Alone: true})
		}
	}
}

// readNIC reads one link, and says whether its device is alive.
func (s *Status) readNIC(t tree, name, path, device string, prog uint32) (bool, error) {
	fd, err := pinGet(t.pin(linkDir, name))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // unenrolled in between
	}
	if err != nil {
		return false, fmt.Errorf("open %s: %w", t.pin(linkDir, name), err)
	}
	info, err := linkInfoOf(fd)
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return false, fmt.Errorf("link %s: %w", name, err)
	}
	l := LinkStatus{Name: name, ID: info.ID, Type: linkTypeName(info.Type), Program: info.Prog, Alive: info.Ifindex != 0}
	if device == "" {
		device = fmt.Sprintf("%d", info.Ifindex)
	}
	l.Target = path + " device " + device
	if l.Alive && info.Prog != prog && prog != 0 {
		s.problem("link %s runs program %d, not %d", name, info.Prog, prog)
	}
	if !l.Alive {
		s.problem("link %s: its device is gone", name)
	}
	s.Links = append(s.Links, l)
	return l.Alive, nil
}
