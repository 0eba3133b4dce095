// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"
)

// object is one BPF object, open or loaded.
type object struct {
	name  string
	mod   *libbpfgo.Module
	progs map[string]*libbpfgo.BPFProg // those of the rows that it was opened for
	maps  map[string]*libbpfgo.BPFMap  // those of the table
}

// openObject reads NAME.bpf.o for the given rows: its other programs stay unloaded.
// Maps get the entries that cfg asks for.
func openObject(cfg *Config, name string, rows []program) (*object, error) {
	runtime.LockOSThread() // libbpf's warnings are kept by thread
	defer runtime.UnlockOSThread()
	file := name + ".bpf.o"
	data, err := fs.ReadFile(cfg.Objects, file)
	if err != nil {
		return nil, loadError("open object", file, err, "build kmesh-node again")
	}
	mod, err := openModule(name, data, cfg.BTF)
	if err != nil {
		return nil, loadError("open object", file, withWarnings(err), openRemedy(err))
	}
	o := &object{name: name, mod: mod, progs: map[string]*libbpfgo.BPFProg{}, maps: map[string]*libbpfgo.BPFMap{}}
	if err := o.index(cfg, rows); err != nil {
		mod.Close()
		return nil, loadError("open object", file, err, "build kmesh-node again")
	}
	return o, nil
}

// openModule goes through a file in memory: libbpfgo's way from a buffer raises
// RLIMIT_MEMLOCK, also where that lowers it or is not allowed. libbpf raises it
// by itself on the kernels that need it, up to 5.10. btf, where it is given, is what the
// object is fitted to.
func openModule(name string, data []byte, btf string) (*libbpfgo.Module, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(data); err != nil {
		return nil, errors.Join(fmt.Errorf("write memfd: %w", err), f.Close())
	}
	mod, err := libbpfgo.NewModuleFromFileArgs(libbpfgo.NewModuleArgs{
		BPFObjPath: "/proc/self/fd/" + itoa(fd), BTFObjPath: btf, SkipMemlockBump: true})
	captureWarnings()
	return mod, errors.Join(err, f.Close())
}

func (o *object) index(cfg *Config, rows []program) error {
	for _, r := range rows {
		if r.object != o.name {
			continue
		}
		p, err := o.mod.GetProgram(r.name)
		if err != nil {
			return fmt.Errorf("program %s is not in it: %w", r.name, err)
		}
		o.progs[r.name] = p
	}
	it := o.mod.Iterator()
	for p := it.NextProgram(); p != nil; p = it.NextProgram() {
		if err := p.SetAutoload(o.progs[p.Name()] != nil); err != nil {
			return fmt.Errorf("program %s: %w", p.Name(), err)
		}
	}
	for m := it.NextMap(); m != nil; m = it.NextMap() {
		name := m.Name()
		if strings.Contains(name, ".") {
			continue // the compiler's own: .rodata and its like
		}
		row, ok := mapByName(cfg.Mode, name)
		if !ok {
			return fmt.Errorf("map %s is not in the loader's table", name)
		}
		if row.entries != nil {
			if err := m.SetMaxEntries(row.entries(cfg)); err != nil {
				return fmt.Errorf("map %s: %w", name, err)
			}
		}
		o.maps[name] = m
	}
	return nil
}

// reuse makes the object use the map behind fd as its map of that name. A map of
// another layout is refused with ErrLayout.
func (o *object) reuse(name string, fd int) error {
	m, ok := o.maps[name]
	if !ok {
		return nil
	}
	have, err := mapInfoOf(fd)
	if err != nil {
		return fmt.Errorf("map %s: %w", name, err)
	}
	want := mapInfo{Type: uint32(m.Type()), KeySize: uint32(m.KeySize()), ValueSize: uint32(m.ValueSize()),
		MaxEntries: m.MaxEntries(), Flags: uint32(m.MapFlags())}
	if why := have.unlike(want); why != "" {
		return fmt.Errorf("map %s: %w: %s", name, ErrLayout, why)
	}
	if err := m.ReuseFD(fd); err != nil {
		return fmt.Errorf("map %s: %w", name, err)
	}
	return nil
}

// ErrLayout says that a pinned map is not what this build's programs need.
var ErrLayout = errors.New("the pinned map has another layout")

// unlike says in which number a map that is there is not as this build has it; "": in none.
func (have mapInfo) unlike(want mapInfo) string {
	for _, f := range []struct {
		what       string
		have, want uint32
	}{
		{"type", have.Type, want.Type},
		{"key size", have.KeySize, want.KeySize},
		{"value size", have.ValueSize, want.ValueSize},
		{"entries", have.MaxEntries, want.MaxEntries},
		{"flags", have.Flags, want.Flags},
	} {
		if f.have != f.want {
			return fmt.Sprintf("%s %d, this build needs %d", f.what, f.have, f.want)
		}
	}
	return ""
}

// load puts the object's programs through the verifier.
func (o *object) load(run string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	takeWarnings()
	if err := o.mod.BPFLoadObject(); err != nil {
		var e syscall.Errno
		if errors.As(err, &e) {
			err = e // without libbpfgo's words around it
		}
		return loadError("load object", o.name, rejected(run, o.name, err, takeWarnings()), loadRemedy(err))
	}
	return nil
}

// openRemedy says what to do about an object that was not opened with err.
func openRemedy(err error) string {
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) {
		return loadRemedy(err)
	}
	return "build kmesh-node again"
}

// loadRemedy says what to do about a load that failed with err.
func loadRemedy(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return "see what forbids BPF here: kernel lockdown (/sys/kernel/security/lockdown), a seccomp filter, or RLIMIT_MEMLOCK before Linux 5.11"
	case errors.Is(err, unix.ENOMEM):
		return "free memory, or raise the memory limit of this cgroup"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "raise the limit of open files"
	}
	return "report this with the kernel's version, or run a kernel that `kmesh-node check --verify` accepts"
}

func (o *object) close() {
	if o != nil && o.mod != nil {
		o.mod.Close()
		o.mod = nil
	}
}
