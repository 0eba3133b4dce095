// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
)

// conversion turns data of one layout into that of another, by the names of fields: one
// that is new is zero, one that is gone is dropped, a number may become wider or, where
// it fits, narrower. Fields that only fill a place, pad and reserved, carry nothing.
type conversion struct {
	from, to uint32 // bytes
	moves    []move
	gone     []span
}

// move is a field that both have: n bytes as they are, or a number of another size.
type move struct {
	path     string
	from, to uint32 // offsets
	n, m     uint32 // bytes there and here
	signed   bool
}

// span is a field that only the old one has.
type span struct {
	path   string
	off, n uint32
}

// cannotMove says why content cannot be brought over.
type cannotMove struct{ why string }

func (e *cannotMove) Error() string { return e.why }

func cannot(format string, args ...any) error { return &cannotMove{fmt.Sprintf(format, args...)} }

var filler = regexp.MustCompile(`^(pad|reserved)[0-9]*$`)

// newConversion compares two types; what is nil is known by its size alone. With numbers
// every move is one of a number, so that they can be added.
func newConversion(what string, from, to *dataType, fromSize, toSize uint32, numbers bool) (*conversion, error) {
	c := &conversion{from: fromSize, to: toSize}
	if from == nil || to == nil {
		if fromSize != toSize {
			return nil, cannot("%s of %d bytes, this build needs %d, and no BTF tells of its fields", what, fromSize, toSize)
		}
		for off := uint32(0); numbers && fromSize%8 == 0 && off < fromSize; off += 8 {
			c.moves = append(c.moves, move{what, off, off, 8, 8, false})
		}
		if c.moves == nil {
			c.moves = []move{{what, 0, 0, fromSize, toSize, false}}
		}
		return c, nil
	}
	return c, c.add(what, from, to, 0, 0, numbers)
}

func (c *conversion) add(path string, from, to *dataType, fromOff, toOff uint32, numbers bool) error {
	if !numbers && from.same(to) {
		c.moves = append(c.moves, move{path, fromOff, toOff, from.size, to.size, false})
		return nil
	}
	switch {
	case from.kind == intType && to.kind == intType:
		if from.net != to.net || from.net && from.size != to.size || from.signed != to.signed {
			return cannot("%s was a %s, and is a %s in this build", path, from, to)
		}
		c.moves = append(c.moves, move{path, fromOff, toOff, from.size, to.size, from.signed})
		return nil
	case from.kind == structType && to.kind == structType:
		return c.addFields(path, from, to, fromOff, toOff, numbers)
	case from.kind == arrayType && to.kind == arrayType && from.n == to.n:
		for i := range from.n {
			at := fmt.Sprintf("%s[%d]", path, i)
			if err := c.add(at, from.elem, to.elem, fromOff+i*from.elem.size, toOff+i*to.elem.size, numbers); err != nil {
				return err
			}
		}
		return nil
	case from.same(to):
		c.moves = append(c.moves, move{path, fromOff, toOff, from.size, to.size, false})
		return nil
	}
	return cannot("%s was a %s, and is a %s in this build", path, from, to)
}

func (c *conversion) addFields(path string, from, to *dataType, fromOff, toOff uint32, numbers bool) error {
	there := map[string]field{}
	for _, f := range to.fields {
		there[f.name] = f
	}
	for _, f := range from.fields {
		if filler.MatchString(f.name) {
			continue
		}
		name := path + "." + f.name
		t, ok := there[f.name]
		if !ok {
			c.gone = append(c.gone, span{name, fromOff + f.off, f.typ.size})
			continue
		}
		if err := c.add(name, f.typ, t.typ, fromOff+f.off, toOff+t.off, numbers); err != nil {
			return err
		}
	}
	return nil
}

// convert returns old in the new layout. dropped counts, by field, what was not zero and
// has no place any more; it may be nil.
func (c *conversion) convert(old []byte, dropped map[string]int) ([]byte, error) {
	b := make([]byte, c.to)
	for _, m := range c.moves {
		if m.n == m.m {
			copy(b[m.to:m.to+m.m], old[m.from:m.from+m.n])
			continue
		}
		v := number(old[m.from:m.from+m.n], m.signed)
		putNumber(b[m.to:m.to+m.m], v)
		if number(b[m.to:m.to+m.m], m.signed) != v {
			return nil, cannot("%s holds %d, which does not fit the %d bits of this build", m.path, v, 8*m.m)
		}
	}
	for _, g := range c.gone {
		if dropped != nil && !zero(old[g.off:g.off+g.n]) {
			dropped[g.path]++
		}
	}
	return b, nil
}

// sum adds to what a new map holds by what the old one has grown from then to now.
func (c *conversion) sum(to, then, now []byte) {
	for _, m := range c.moves {
		grown := number(now[m.from:m.from+m.n], m.signed) - number(then[m.from:m.from+m.n], m.signed)
		at := to[m.to : m.to+m.m]
		putNumber(at, number(at, m.signed)+grown)
	}
}

// number reads one of 1, 2, 4 or 8 bytes; a signed one is extended to 64 bits.
func number(b []byte, signed bool) uint64 {
	var v uint64
	switch len(b) {
	case 1:
		v = uint64(b[0])
	case 2:
		v = uint64(binary.NativeEndian.Uint16(b))
	case 4:
		v = uint64(binary.NativeEndian.Uint32(b))
	default:
		v = binary.NativeEndian.Uint64(b)
	}
	if shift := 64 - 8*len(b); signed && shift > 0 {
		v = uint64(int64(v<<shift) >> shift)
	}
	return v
}

func putNumber(b []byte, v uint64) {
	switch len(b) {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.NativeEndian.PutUint16(b, uint16(v))
	case 4:
		binary.NativeEndian.PutUint32(b, uint32(v))
	default:
		binary.NativeEndian.PutUint64(b, v)
	}
}

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }
