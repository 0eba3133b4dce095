// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// BTF is read here rather than through libbpf: all that is asked for is how the keys
// and values of maps are made up, of an object file and of what the kernel holds.

// typeKind is what a type is once names and qualifiers are taken off.
type typeKind int

const (
	intType    typeKind = iota // also enumerations
	structType                 // of named fields
	arrayType
	opaqueType // a union, a bit field: the same or not, nothing between
)

// dataType is the type of a key, a value or a field.
type dataType struct {
	kind   typeKind
	size   uint32
	name   string // opaqueType: what it is made up of
	signed bool
	net    bool // in network byte order, by its typedef
	n      uint32
	elem   *dataType
	fields []field
}

// field is one of a struct's, at an offset in bytes.
type field struct {
	name string
	off  uint32
	typ  *dataType
}

const (
	btfInt, btfPtr, btfArray, btfStruct, btfUnion, btfEnum = 1, 2, 3, 4, 5, 6
	btfVolatile, btfConst, btfRestrict, btfVar, btfDatasec = 9, 10, 11, 14, 15
	btfTypeTag, btfEnum64                                  = 18, 19
	maxTypeDepth                                           = 32
)

// btfTypes are the types of one BTF; a type's id is its place.
type btfTypes struct {
	types [][]byte // from the common header on
	strs  []byte
}

func parseBTF(raw []byte) (*btfTypes, error) {
	r := bytes.NewReader(raw)
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	b := &btfTypes{types: [][]byte{nil}} // id 0 is void
	if b.strs, err = h.section(r, h.StrOff, h.StrLen); err != nil {
		return nil, err
	}
	types, err := h.section(r, h.TypeOff, h.TypeLen)
	if err != nil {
		return nil, err
	}
	for len(types) > 0 {
		if len(types) < 12 {
			return nil, errBadBTF
		}
		info := binary.NativeEndian.Uint32(types[4:])
		extra, err := btfExtra(info>>24&0x1f, int(info&0xffff))
		if err != nil {
			return nil, err
		}
		if len(types) < 12+extra {
			return nil, errBadBTF
		}
		b.types = append(b.types, types[:12+extra])
		types = types[12+extra:]
	}
	return b, nil
}

// raw is a type as BTF has it.
type rawType struct {
	kind, vlen uint32
	bits       bool // kind_flag: offsets of members hold the size of a bit field
	name       string
	at         uint32 // size, or the type that it refers to
	extra      []byte
}

func (b *btfTypes) raw(id uint32) (rawType, error) {
	if id == 0 || id >= uint32(len(b.types)) {
		return rawType{}, fmt.Errorf("type %d: %w", id, errBadBTF)
	}
	t := b.types[id]
	info := word(t, 1)
	name, err := b.str(word(t, 0))
	return rawType{kind: info >> 24 & 0x1f, vlen: info & 0xffff, bits: info>>31 != 0, name: name,
		at: word(t, 2), extra: t[12:]}, err
}

func word(b []byte, i int) uint32 { return binary.NativeEndian.Uint32(b[4*i:]) }

func (b *btfTypes) str(off uint32) (string, error) {
	if off >= uint32(len(b.strs)) {
		return "", errBadBTF
	}
	s := b.strs[off:]
	end := bytes.IndexByte(s, 0)
	if end < 0 {
		return "", errBadBTF
	}
	return string(s[:end]), nil
}

// dataType reads the type of that id.
func (b *btfTypes) dataType(id uint32) (*dataType, error) { return b.walk(id, 0) }

func (b *btfTypes) walk(id uint32, depth int) (*dataType, error) {
	if depth > maxTypeDepth {
		return nil, errBadBTF
	}
	r, err := b.raw(id)
	if err != nil {
		return nil, err
	}
	switch r.kind {
	case btfKindTypedef, btfVolatile, btfConst, btfRestrict, btfTypeTag:
		t, err := b.walk(r.at, depth+1)
		if err == nil && r.kind == btfKindTypedef && strings.HasPrefix(r.name, "__be") {
			swapped := *t
			swapped.net = true
			t = &swapped
		}
		return t, err
	case btfInt:
		if r.at > 8 {
			return &dataType{kind: opaqueType, size: r.at, name: r.name}, nil
		}
		return &dataType{kind: intType, size: r.at, signed: word(r.extra, 0)>>24&1 != 0}, nil
	case btfEnum, btfEnum64:
		return &dataType{kind: intType, size: r.at}, nil
	case btfPtr:
		return &dataType{kind: opaqueType, size: 8, name: "pointer"}, nil
	case btfArray:
		elem, err := b.walk(word(r.extra, 0), depth+1)
		if err != nil {
			return nil, err
		}
		n := word(r.extra, 2)
		return &dataType{kind: arrayType, size: n * elem.size, n: n, elem: elem}, nil
	case btfStruct, btfUnion:
		return b.members(r, depth)
	}
	return nil, fmt.Errorf("kind %d: %w", r.kind, errBadBTF)
}

func (b *btfTypes) members(r rawType, depth int) (*dataType, error) {
	t := &dataType{kind: structType, size: r.at}
	var made []string
	for i := range int(r.vlen) {
		name, err := b.str(word(r.extra, 3*i))
		if err != nil {
			return nil, err
		}
		typ, err := b.walk(word(r.extra, 3*i+1), depth+1)
		if err != nil {
			return nil, err
		}
		bit := word(r.extra, 3*i+2)
		if r.bits {
			if bit>>24 != 0 {
				return nil, fmt.Errorf("bit field %s: %w", name, errBadBTF)
			}
			bit &= 0xffffff
		}
		made = append(made, name+" "+typ.String())
		if name == "" && typ.kind == structType { // its fields are the outer one's
			for _, f := range typ.fields {
				t.fields = append(t.fields, field{f.name, bit/8 + f.off, f.typ})
			}
			continue
		}
		t.fields = append(t.fields, field{name, bit / 8, typ})
	}
	if r.kind == btfUnion {
		return &dataType{kind: opaqueType, size: r.at, name: "union of " + strings.Join(made, ", ")}, nil
	}
	return t, nil
}

// String names a type for messages, and one that is opaque whole.
func (t *dataType) String() string {
	order := ""
	if t.net {
		order = " in network byte order"
	}
	switch t.kind {
	case intType:
		if t.signed {
			return fmt.Sprintf("signed %d-bit number%s", 8*t.size, order)
		}
		return fmt.Sprintf("%d-bit number%s", 8*t.size, order)
	case arrayType:
		return fmt.Sprintf("array of %d %s", t.n, t.elem)
	case structType:
		return fmt.Sprintf("struct of %d bytes", t.size)
	}
	return t.name
}

// same says whether two types lie alike in memory, field by field of the same name.
func (t *dataType) same(o *dataType) bool {
	if t == nil || o == nil {
		return t == o
	}
	if t.kind != o.kind || t.size != o.size || t.name != o.name || t.signed != o.signed || t.net != o.net ||
		t.n != o.n || len(t.fields) != len(o.fields) {
		return false
	}
	for i, f := range t.fields {
		g := o.fields[i]
		if f.name != g.name || f.off != g.off || !f.typ.same(g.typ) {
			return false
		}
	}
	return t.elem.same(o.elem)
}
