// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	bpf "github.com/aquasecurity/libbpfgo"
)

// A set of hooks is attached and detached as one, so that every measurement has
// just the programs that it is about.
type hooks []hook

// attach returns what detaches the set again.
func (set hooks) attach(cgroup int) (func(), error) {
	var links []int
	detach := func() {
		for _, fd := range links {
			closeFD(fd)
		}
	}
	for _, h := range set {
		fd, err := attachHook(h, cgroup)
		if err != nil {
			detach()
			return nil, err
		}
		links = append(links, fd)
	}
	return detach, nil
}

// takeHooks takes over kmesh-node's attachments: it removes the pins of its links,
// which detaches them, and returns the set for the benchmark to attach at will,
// connect4 first. A link on a map or on a device stays.
func (s *sandbox) takeHooks() (hooks, error) {
	dir := s.pins("link")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var set hooks
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		h, ok, err := readHook(path, e.Name())
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		set = append(set, h)
		if p, err := readProg(h.prog); err != nil {
			return nil, err
		} else if p.Name == connect4 {
			set[0], set[len(set)-1] = h, set[0]
		}
	}
	for _, h := range set {
		if err := os.Remove(filepath.Join(dir, h.link)); err != nil {
			return nil, err
		}
	}
	time.Sleep(50 * time.Millisecond) // the last reference goes in the background
	return set, nil
}

// read returns the kernel's counts of each program, in the order of the set.
func (set hooks) read() ([]progInfo, error) {
	var all []progInfo
	for _, h := range set {
		p, err := readProg(h.prog)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// floors are the programs of floor.bpf.c.
type floors struct {
	module *bpf.Module
}

func loadFloors(path string) (*floors, error) {
	bpf.SetLoggerCbs(bpf.Callbacks{Log: func(level int, msg string) {
		if level == bpf.LibbpfWarnLevel {
			fmt.Fprint(os.Stderr, msg)
		}
	}})
	// Raising RLIMIT_MEMLOCK needs CAP_SYS_RESOURCE, and only kernels before 5.11
	// count maps against it.
	m, err := bpf.NewModuleFromFileArgs(bpf.NewModuleArgs{BPFObjPath: path, SkipMemlockBump: true})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := m.BPFLoadObject(); err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	return &floors{m}, nil
}

func (f *floors) program(name string) (fd int, err error) {
	p, err := f.module.GetProgram(name)
	if err != nil {
		return -1, fmt.Errorf("find floor program: %w", err)
	}
	return p.FileDescriptor(), nil
}

func (f *floors) hook(name string) (hook, error) {
	fd, err := f.program(name)
	if err != nil {
		return hook{}, err
	}
	return hookOf(name, fd)
}

// know makes the floor programs treat a pod as enrolled and send a service's
// connections to one backend.
func (f *floors) know(p *pod) error {
	since := make([]byte, 8)
	cookie := binary.NativeEndian.AppendUint64(nil, p.cookie)
	if err := f.put("floor_netns", cookie, since); err != nil {
		return err
	}
	key := bytes.Repeat([]byte{0}, 20) // struct km_addr
	copy(key[10:], []byte{0xff, 0xff})
	copy(key[12:], service.Addr().AsSlice())
	binary.BigEndian.PutUint16(key[16:], service.Port())
	value := make([]byte, 8) // struct floor_addr
	copy(value, backends[0].Addr().AsSlice())
	binary.BigEndian.PutUint16(value[4:], backends[0].Port())
	return f.put("floor_addr", key, value)
}

func (f *floors) put(name string, key, value []byte) error {
	m, err := f.module.GetMap(name)
	if err != nil {
		return fmt.Errorf("find floor map: %w", err)
	}
	if err := m.Update(unsafe.Pointer(&key[0]), unsafe.Pointer(&value[0])); err != nil {
		return fmt.Errorf("fill %s: %w", name, err)
	}
	return nil
}
