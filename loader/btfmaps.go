// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
)

// mapsOfObject reads how an object declares its maps, by name.
func mapsOfObject(object []byte) (map[string]layout, error) {
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return nil, err
	}
	s := f.Section(".BTF")
	if s == nil {
		return nil, fmt.Errorf("no .BTF: %w", errBadBTF)
	}
	raw, err := io.ReadAll(s.Open())
	if err != nil {
		return nil, err
	}
	b, err := parseBTF(raw)
	if err != nil {
		return nil, err
	}
	return b.declaredMaps()
}

// declaredMaps reads the section that libbpf makes maps of: a variable for each, whose
// type spells its attributes.
func (b *btfTypes) declaredMaps() (map[string]layout, error) {
	l := map[string]layout{}
	for id := range uint32(len(b.types)) {
		if id == 0 {
			continue
		}
		sec, err := b.raw(id)
		if err != nil {
			return nil, err
		}
		if sec.kind != btfDatasec || sec.name != ".maps" {
			continue
		}
		for i := range int(sec.vlen) {
			v, err := b.raw(word(sec.extra, 3*i))
			if err != nil {
				return nil, err
			}
			if l[v.name], err = b.declaredMap(v); err != nil {
				return nil, fmt.Errorf("map %s: %w", v.name, err)
			}
		}
	}
	return l, nil
}

func (b *btfTypes) declaredMap(v rawType) (layout, error) {
	l := layout{}
	l.Name = v.name
	def, err := b.raw(v.at)
	if err != nil || v.kind != btfVar {
		return l, errBadBTF
	}
	for i := range int(def.vlen) {
		name, err := b.str(word(def.extra, 3*i))
		if err != nil {
			return l, err
		}
		member, err := b.raw(word(def.extra, 3*i+1))
		if err != nil {
			return l, err
		}
		if err := b.attribute(&l, name, member); err != nil {
			return l, err
		}
	}
	// As libbpf has it: what such a map holds are maps and programs.
	if l.Type == mapTypeArrayOfMaps {
		l.KeySize, l.ValueSize = 4, 4
	}
	return l, nil
}

// attribute takes one of a map's: a number is the length of an array, a type what a
// pointer points to.
func (b *btfTypes) attribute(l *layout, name string, member rawType) error {
	if member.kind != btfPtr {
		return nil // values of a map of maps
	}
	var err error
	number := map[string]*uint32{"type": &l.Type, "max_entries": &l.MaxEntries, "map_flags": &l.Flags,
		"key_size": &l.KeySize, "value_size": &l.ValueSize}
	if to, ok := number[name]; ok {
		a, err := b.raw(member.at)
		if err != nil || a.kind != btfArray {
			return errBadBTF
		}
		*to = word(a.extra, 2)
		return nil
	}
	switch name {
	case "key":
		if l.key, err = b.dataType(member.at); err == nil {
			l.KeySize = l.key.size
		}
	case "value":
		if l.value, err = b.dataType(member.at); err == nil {
			l.ValueSize = l.value.size
		}
	}
	return err
}
