// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// fate is what becomes of a map that is there when the programs are loaded anew.
type fate string

const (
	keep    fate = "keep"    // in use as it is
	migrate fate = "migrate" // gives way to a new one that gets its content, field by field
	rebuild fate = "rebuild" // gives way to a new one whose content is made anew
	refuse  fate = "refuse"  // neither will do: the `up` fails, and nothing has changed
)

// verdict is the fate of a map, and why.
type verdict struct {
	fate fate
	why  string
}

// layout is how a map is laid out. Without BTF key and value are nil.
type layout struct {
	mapInfo
	key, value *dataType
}

// remedyLayout is for a map that can be neither migrated nor made anew.
const remedyLayout = "stay with the build that is up; or save what its get -o json says, and run: kmesh-node down, then this one's up, enroll and apply"

// layouts are those of this build's maps that outlive a load, by name, with the
// entries that are configured.
func layouts(cfg *Config) (map[string]layout, error) {
	file := mapsObject(cfg.Mode) + ".bpf.o"
	data, err := fs.ReadFile(cfg.Objects, file)
	if err != nil {
		return nil, loadError("open object", file, err, "build kmesh-node again")
	}
	l, err := mapsOfObject(data)
	if err != nil {
		return nil, loadError("open object", file, err, "build kmesh-node again")
	}
	for _, m := range mapsOf(cfg.Mode) {
		want, ok := l[m.name]
		if !ok && !m.perLoad {
			return nil, loadError("open object", file, fmt.Errorf("map %s is not in it", m.name), "build kmesh-node again")
		}
		if ok && m.entries != nil {
			want.MaxEntries = m.entries(cfg)
			l[m.name] = want
		}
	}
	return l, nil
}

// kernelLayouts reads layouts of maps that are there. Maps of one object share its BTF.
type kernelLayouts struct{ btf map[uint32]*btfTypes }

func (c *kernelLayouts) of(fd int) (l layout, err error) {
	if l.mapInfo, err = mapInfoOf(fd); err != nil || l.btf == 0 {
		return l, err
	}
	if c.btf == nil {
		c.btf = map[uint32]*btfTypes{}
	}
	b := c.btf[l.btf]
	if b == nil {
		raw, err := btfByID(l.btf)
		if err != nil {
			return l, fmt.Errorf("read its BTF: %w", err)
		}
		if b, err = parseBTF(raw); err != nil {
			return l, fmt.Errorf("read its BTF: %w", err)
		}
		c.btf[l.btf] = b
	}
	if l.keyType != 0 {
		if l.key, err = b.dataType(l.keyType); err != nil {
			return l, fmt.Errorf("read its BTF: %w", err)
		}
	}
	if l.valueType != 0 {
		if l.value, err = b.dataType(l.valueType); err != nil {
			return l, fmt.Errorf("read its BTF: %w", err)
		}
	}
	return l, nil
}

// differs says in what a map that is there is not as this build has it; "": in nothing.
func (have layout) differs(want layout) string {
	if why := have.unlike(want.mapInfo); why != "" {
		return why
	}
	// What the kernel holds without BTF is told by its sizes alone.
	if have.key != nil && want.key != nil && !have.key.same(want.key) {
		return "the fields of its keys are others"
	}
	if have.value != nil && want.value != nil && !have.value.same(want.value) {
		return "the fields of its values are others"
	}
	return ""
}

// fateOf says what becomes of a map of the mode that is there, by itself: what other
// maps drag along is in k.fates.
func (k *node) fateOf(m mapRow, fd int) (f fate, why string, err error) {
	if m.perLoad {
		return keep, "", nil // as long as its programs
	}
	if err := k.needLayouts(); err != nil {
		return "", "", err
	}
	have, err := k.kernel.of(fd)
	if err != nil {
		return "", "", loadError("open map", m.name, err, "")
	}
	want := k.layouts[m.name]
	why = have.differs(want)
	if why == "" {
		return keep, "", nil
	}
	if m.entries != nil && have.MaxEntries != want.MaxEntries {
		why = fmt.Sprintf("%d entries, configured are %d", have.MaxEntries, want.MaxEntries)
	}
	switch m.differs {
	case rebuild:
		return rebuild, why + "; " + m.why, nil
	case refuse:
		return refuse, why, nil
	}
	t, err := k.transfer(m, fd)
	if err == nil {
		_, err = t.read()
	}
	var no *cannotMove
	if errors.As(err, &no) {
		return refuse, no.Error(), nil
	}
	if err != nil {
		return "", "", loadError("read map", m.name, err, "")
	}
	return migrate, why, nil
}

// cannotMigrate says that what a map holds cannot be brought over.
func (k *node) cannotMigrate(m mapRow, why error) error {
	if fd, there := k.fds[m.name]; there && m.entries != nil {
		if have, err := k.kernel.of(fd); err == nil && have.MaxEntries > m.entries(k.cfg) {
			return loadError("migrate map", m.name, why, "give the --workloads of before, or more")
		}
	}
	return loadError("migrate map", m.name, fmt.Errorf("%w: %w", ErrLayout, why), remedyLayout)
}

func (k *node) needLayouts() (err error) {
	if k.layouts == nil {
		k.layouts, err = layouts(k.cfg)
	}
	return err
}

// findFates decides about every map that is there, and refuses before anything changes
// where one can be neither kept nor brought over.
func (k *node) findFates() error {
	k.fates = map[string]verdict{}
	rows := mapsOf(k.cfg.Mode)
	for _, m := range rows {
		fd, ok := k.fds[m.name]
		if !ok {
			continue
		}
		f, why, err := k.fateOf(m, fd)
		if err != nil {
			return err
		}
		if f == refuse {
			return k.cannotMigrate(m, errors.New(why))
		}
		k.fates[m.name] = verdict{f, why}
	}
	for again := true; again; {
		again = false
		for _, m := range rows {
			if v, ok := k.fates[m.name]; !ok || v.fate != keep {
				continue
			}
			i := slices.IndexFunc(m.with, func(o string) bool { v, ok := k.fates[o]; return ok && v.fate != keep })
			if i >= 0 {
				k.fates[m.name] = verdict{m.differs, "it goes with " + m.with[i]}
				again = true
			}
		}
	}
	for name, v := range k.fates {
		k.resized[name] = v.fate != keep
	}
	return nil
}

// known checks that maps that are there are laid out as this build has them.
type known struct {
	mode   Mode
	want   map[string]layout
	kernel kernelLayouts
}

func newKnown(cfg *Config) (*known, error) {
	if cfg.Objects == nil {
		return nil, nil // a caller that has no build to compare with
	}
	want, err := layouts(cfg)
	return &known{mode: cfg.Mode, want: want}, err
}

// check refuses to read or write a map that another build laid out otherwise: that build's
// own commands can, or an `up` of this one brings it over.
func (k *known) check(m mapRow, fd int) error {
	if k == nil || m.perLoad {
		return nil
	}
	have, err := k.kernel.of(fd)
	if err != nil {
		return fmt.Errorf("map %s: %w", m.name, err)
	}
	want := k.want[m.name]
	if m.entries != nil {
		want.MaxEntries = have.MaxEntries
	}
	why := have.differs(want)
	if why == "" {
		return nil
	}
	return &exit.Error{Code: exit.Load, Step: "open map", Object: m.name, Err: fmt.Errorf("%w: %s", ErrLayout, why),
		Remedy: "another build made it: run up of this one, or use that one's binary"}
}
