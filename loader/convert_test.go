// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func num(size uint32) *dataType { return &dataType{kind: intType, size: size} }

func signedNum(size uint32) *dataType { return &dataType{kind: intType, size: size, signed: true} }

func netNum(size uint32) *dataType { return &dataType{kind: intType, size: size, net: true} }

func listOf(n uint32, e *dataType) *dataType {
	return &dataType{kind: arrayType, size: n * e.size, n: n, elem: e}
}

// structOf is a struct without holes.
func structOf(fields ...field) *dataType {
	t := &dataType{kind: structType}
	for _, f := range fields {
		f.off = t.size
		t.fields = append(t.fields, f)
		t.size += f.typ.size
	}
	return t
}

func member(name string, t *dataType) field { return field{name: name, typ: t} }

// native lays numbers out one behind the other, each of its size.
func native(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if err := binary.Write(&b, binary.NativeEndian, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func TestFieldsMoveByName(t *testing.T) {
	a := structOf(member("x", num(4)), member("y", num(8)), member("z", num(2)), member("pad", num(2)))
	for name, c := range map[string]struct {
		to   *dataType
		want []byte
	}{
		"the same":      {a, native(uint32(1), uint64(2), uint16(3), uint16(9))},
		"reordered":     {structOf(member("y", num(8)), member("z", num(2)), member("x", num(4))), native(uint64(2), uint16(3), uint32(1))},
		"added":         {structOf(member("new", num(8)), member("x", num(4)), member("y", num(8)), member("z", num(2))), native(uint64(0), uint32(1), uint64(2), uint16(3))},
		"widened":       {structOf(member("x", num(8)), member("y", num(8)), member("z", num(4))), native(uint64(1), uint64(2), uint32(3))},
		"narrowed":      {structOf(member("x", num(1)), member("y", num(2)), member("z", num(2))), native(uint8(1), uint16(2), uint16(3))},
		"filled anew":   {structOf(member("x", num(4)), member("pad", num(4)), member("y", num(8)), member("z", num(2))), native(uint32(1), uint32(0), uint64(2), uint16(3))},
		"within others": {structOf(member("x", num(4)), member("y", num(8)), member("z", num(2)), member("reserved", listOf(4, num(8)))), native(uint32(1), uint64(2), uint16(3), make([]byte, 32))},
	} {
		conv, err := newConversion("value", a, c.to, a.size, c.to.size, false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := must1(conv.convert(native(uint32(1), uint64(2), uint16(3), uint16(9)), nil))(t); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestNestedFieldsMoveByName(t *testing.T) {
	way := structOf(member("cookie", num(8)), member("flags", num(4)), member("at", num(4)))
	wide := structOf(member("at", num(4)), member("flags", num(8)), member("cookie", num(8)))
	from, to := structOf(member("way", listOf(2, way))), structOf(member("n", num(4)), member("way", listOf(2, wide)))
	conv := must1(newConversion("value", from, to, from.size, to.size, false))(t)
	got := must1(conv.convert(native(uint64(1), uint32(2), uint32(3), uint64(4), uint32(5), uint32(6)), nil))(t)
	if want := native(uint32(0), uint32(3), uint64(2), uint64(1), uint32(6), uint64(5), uint64(4)); !bytes.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSignedNumbersKeepTheirSign(t *testing.T) {
	from, to := structOf(member("x", signedNum(2))), structOf(member("x", signedNum(8)))
	conv := must1(newConversion("value", from, to, 2, 8, false))(t)
	if got := must1(conv.convert(native(int16(-5)), nil))(t); !bytes.Equal(got, native(int64(-5))) {
		t.Errorf("%v", got)
	}
	conv = must1(newConversion("value", to, from, 8, 2, false))(t)
	if got := must1(conv.convert(native(int64(-5)), nil))(t); !bytes.Equal(got, native(int16(-5))) {
		t.Errorf("%v", got)
	}
}

func TestWhatCannotMoveIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		from, to *dataType
		words    []string
	}{
		"byte order":    {structOf(member("port", netNum(2))), structOf(member("port", num(2))), []string{"value.port", "network byte order"}},
		"wider on wire": {structOf(member("port", netNum(2))), structOf(member("port", netNum(4))), []string{"value.port"}},
		"sign":          {structOf(member("x", num(4))), structOf(member("x", signedNum(8))), []string{"value.x", "signed"}},
		"kind":          {structOf(member("x", num(4))), structOf(member("x", listOf(1, num(4)))), []string{"value.x", "32-bit number", "array of 1"}},
		"length":        {structOf(member("data", listOf(4, num(1)))), structOf(member("data", listOf(8, num(1)))), []string{"value.data", "array of 4", "array of 8"}},
		"deep": {structOf(member("way", listOf(2, structOf(member("x", num(4)))))), structOf(member("way", listOf(2, structOf(member("x", netNum(4)))))),
			[]string{"value.way[0].x"}},
	} {
		_, err := newConversion("value", c.from, c.to, c.from.size, c.to.size, false)
		var no *cannotMove
		if !errors.As(err, &no) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
	}
}

func TestNumbersThatDoNotFitAreRefused(t *testing.T) {
	from, to := structOf(member("x", num(8))), structOf(member("x", num(4)))
	conv := must1(newConversion("value", from, to, 8, 4, false))(t)
	_, err := conv.convert(native(uint64(1<<32)), nil)
	if err == nil || !strings.Contains(err.Error(), "value.x holds 4294967296") {
		t.Errorf("%v", err)
	}
}

func TestWhatIsDroppedIsCounted(t *testing.T) {
	from, to := structOf(member("x", num(8)), member("gone", num(4)), member("reserved", num(4))), structOf(member("x", num(8)))
	conv := must1(newConversion("value", from, to, from.size, to.size, false))(t)
	dropped := map[string]int{}
	for _, v := range []uint32{0, 7, 8} {
		must1(conv.convert(native(uint64(1), v, uint32(5)), dropped))(t)
	}
	if len(dropped) != 1 || dropped["value.gone"] != 2 {
		t.Errorf("%v", dropped)
	}
}

func TestWithoutBTFSizesDecide(t *testing.T) {
	conv := must1(newConversion("value", nil, num(4), 4, 4, false))(t)
	if got := must1(conv.convert(native(uint32(7)), nil))(t); !bytes.Equal(got, native(uint32(7))) {
		t.Errorf("%v", got)
	}
	if _, err := newConversion("value", nil, num(8), 4, 8, false); err == nil || !strings.Contains(err.Error(), "no BTF") {
		t.Errorf("%v", err)
	}
}

func TestSumAddsWhatHasGrown(t *testing.T) {
	from, to := structOf(member("a", num(8)), member("b", num(4))), structOf(member("b", num(8)), member("new", num(8)), member("a", num(8)))
	conv := must1(newConversion("value", from, to, from.size, to.size, true))(t)
	have := native(uint64(100), uint64(1), uint64(200))
	conv.sum(have, native(uint64(10), uint32(20)), native(uint64(13), uint32(25)))
	if want := native(uint64(105), uint64(1), uint64(203)); !bytes.Equal(have, want) {
		t.Errorf("%v, want %v", have, want)
	}
}

// The layouts that are read from the objects are those that libbpf makes maps of, and
// that Go has through cgo.
func TestLayoutsOfTheObjects(t *testing.T) {
	for _, mode := range modes {
		cfg := Default()
		cfg.Mode, cfg.Objects = mode, os.DirFS(objectsDir())
		l := must1(layouts(&cfg))(t)
		o := must1(openObject(&cfg, mapsObject(mode), nil))(t)
		for name, m := range o.maps {
			want := layout{mapInfo: mapInfo{Type: uint32(m.Type()), KeySize: uint32(m.KeySize()), ValueSize: uint32(m.ValueSize()),
				MaxEntries: m.MaxEntries(), Flags: uint32(m.MapFlags())}}
			if why := l[name].differs(want); why != "" {
				t.Errorf("map %s: %s", name, why)
			}
		}
		o.close()
		netns := l["km_netns"].value
		if netns.size == 0 || netns.fields[0].name != "since" || netns.fields[len(netns.fields)-1].typ.String() != "array of 8 array of 4 32-bit number in network byte order" {
			t.Errorf("km_netns: %+v", netns)
		}
	}
}

// Every map has a fate, and those that go with others name maps.
func TestTheTableHasAFateForEveryMap(t *testing.T) {
	for _, mode := range modes {
		for _, m := range mapsOf(mode) {
			switch {
			case m.perLoad:
			case m.differs == rebuild && m.why == "":
				t.Errorf("map %s is made anew and nothing says why", m.name)
			case m.differs != rebuild && m.differs != migrate && m.differs != refuse:
				t.Errorf("map %s: fate %q", m.name, m.differs)
			}
			for _, w := range m.with {
				if _, ok := mapByName(mode, w); !ok {
					t.Errorf("map %s goes with %s, which is none", m.name, w)
				}
			}
		}
	}
}

func TestBrokenBTFIsAnError(t *testing.T) {
	data := must1(os.ReadFile(filepath.Join(objectsDir(), "maps.bpf.o")))(t)
	raw := sectionOf(t, data, ".BTF")
	must1(parseBTF(raw))(t)
	for cut := range len(raw) {
		b, err := parseBTF(raw[:cut])
		if err == nil {
			t.Errorf("%d of %d bytes: %+v", cut, len(raw), b)
		}
	}
	for i := 24; i < len(raw); i++ { // no byte that is another may take the reader down
		bad := bytes.Clone(raw)
		bad[i] ^= 0xff
		b, err := parseBTF(bad)
		if err == nil {
			_, err = b.declaredMaps()
		}
		if err != nil && !errors.Is(err, errBadBTF) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}
