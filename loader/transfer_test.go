// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func sectionOf(t *testing.T, object []byte, name string) []byte {
	t.Helper()
	f := must1(elf.NewFile(bytes.NewReader(object)))(t)
	return must1(f.Section(name).Data())(t)
}

// pair is a transfer between two maps of the kernel.
func pair(t *testing.T, m mapRow, typ uint32, from, to *dataType, fromEntries, toEntries uint32) *transfer {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes maps")
	}
	create := func(value *dataType, entries uint32) (int, layout) {
		flags := uint32(0)
		if typ == mapTypeHash {
			flags = unix.BPF_F_NO_PREALLOC
		}
		fd := must1(mapCreate("test", typ, 4, value.size, entries, flags))(t)
		t.Cleanup(func() { must(t, unix.Close(fd)) })
		l := layout{mapInfo: must1(mapInfoOf(fd))(t), key: num(4), value: value}
		return fd, l
	}
	old, have := create(from, fromEntries)
	fresh, want := create(to, toEntries)
	x := must1(newTransfer(m, have, want, old))(t)
	x.to = fresh
	return x
}

func (x *transfer) copyAll(t *testing.T) {
	t.Helper()
	l := must1(x.read())(t)
	must(t, x.write(l))
}

var (
	small = structOf(member("a", num(4)), member("b", num(4)))
	large = structOf(member("b", num(8)), member("new", num(4)), member("a", num(4)))
)

func TestAHashIsCopiedAndFollowed(t *testing.T) {
	x := pair(t, mapRow{}, mapTypeHash, small, large, 8, 16)
	put := func(key, a, b uint32) { must(t, mapUpdateBytes(x.from, key, native(a, b))) }
	want := func(key uint32, a uint32, b uint64) {
		t.Helper()
		got := make([]byte, large.size)
		must(t, mapLookupBytes(x.to, key, got))
		if w := native(b, uint32(0), a); !bytes.Equal(got, w) {
			t.Errorf("key %d: %v, want %v", key, got, w)
		}
	}
	for key := range uint32(5) {
		put(key, key, 10*key)
	}
	x.copyAll(t)
	want(3, 3, 30)
	put(0, 7, 7)  // changed there
	put(6, 6, 60) // new there
	put(2, 9, 9)  // changed on both sides: the new one's stays
	must(t, mapUpdateBytes(x.to, uint32(2), native(uint64(1), uint32(0), uint32(1))))
	must(t, mapDelete(x.from, uint32(1))) // went there
	must(t, mapDelete(x.from, uint32(3))) // went there, and is another here
	must(t, mapUpdateBytes(x.to, uint32(3), native(uint64(5), uint32(0), uint32(5))))
	must(t, mapDelete(x.to, uint32(4))) // went here
	must(t, x.follow())
	want(0, 7, 7)
	want(6, 6, 60)
	want(2, 1, 1)
	want(3, 5, 5)
	for _, gone := range []uint32{1, 4} {
		if err := mapLookupBytes(x.to, gone, make([]byte, large.size)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("key %d: %v", gone, err)
		}
	}
}

func TestTheWayBackBringsWhatIsNew(t *testing.T) {
	x := pair(t, mapRow{}, mapTypeHash, small, large, 8, 16)
	must(t, mapUpdateBytes(x.from, uint32(1), native(uint32(1), uint32(2))))
	must(t, mapUpdateBytes(x.from, uint32(2), native(uint32(3), uint32(4))))
	x.copyAll(t)
	must(t, mapUpdateBytes(x.to, uint32(5), native(uint64(8), uint32(0), uint32(9))))
	must(t, mapDelete(x.to, uint32(2)))
	back := must1(x.back())(t)
	must(t, back.follow())
	got := make([]byte, small.size)
	must(t, mapLookupBytes(x.from, uint32(5), got))
	if want := native(uint32(9), uint32(8)); !bytes.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := mapLookupBytes(x.from, uint32(2), got); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what went is there: %v", err)
	}
}

func TestCountersOfEveryCPUAreAdded(t *testing.T) {
	cpus := must1(possibleCPUs())(t)
	from, to := structOf(member("n", num(8))), structOf(member("new", num(8)), member("n", num(8)))
	x := pair(t, mapRow{adds: true}, mapTypePerCPUArray, from, to, 2, 2)
	set := func(fd int, size int, at int, v uint64) {
		b := make([]byte, size*cpus)
		for i := range cpus {
			copy(b[i*size+at:], native(v+uint64(i)))
		}
		must(t, mapUpdateBytes(fd, uint32(1), b))
	}
	set(x.from, 8, 0, 100)
	x.copyAll(t)
	set(x.from, 8, 0, 105) // five more there
	set(x.to, 16, 8, 103)  // three more here
	must(t, x.follow())
	b := make([]byte, 16*cpus)
	must(t, mapLookupBytes(x.to, uint32(1), b))
	for i := range cpus {
		if got := number(b[i*16+8:][:8], false); got != uint64(108+i) {
			t.Errorf("CPU %d: %d", i, got)
		}
	}
}

func TestEntriesThatHaveNoRoomAreRefused(t *testing.T) {
	x := pair(t, mapRow{}, mapTypeHash, small, large, 8, 2)
	for key := range uint32(3) {
		must(t, mapUpdateBytes(x.from, key, native(uint32(1), uint32(1))))
	}
	wantRefusal(t, x, "3 entries are in use", "room for 2")
	must(t, mapDelete(x.from, uint32(0)))
	x.copyAll(t)

	x = pair(t, mapRow{}, mapTypeArray, small, large, 8, 2)
	must(t, mapUpdateBytes(x.from, uint32(1), native(uint32(1), uint32(1))))
	must1(x.read())(t)
	must(t, mapUpdateBytes(x.from, uint32(5), native(uint32(1), uint32(1))))
	wantRefusal(t, x, "entry 5 is in use", "room for 2")
}

func wantRefusal(t *testing.T, x *transfer, words ...string) {
	t.Helper()
	_, err := x.read()
	var no *cannotMove
	if !errors.As(err, &no) {
		t.Fatalf("%v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// What the kernel keeps of a map's BTF is what its object says.
func TestTheKernelTellsTheLayoutOfEveryMap(t *testing.T) {
	eachMode(t, func(t *testing.T, h *host) {
		must(t, h.up())
		want := must1(layouts(&h.cfg))(t)
		var c kernelLayouts
		must(t, h.cfgHandles(func(hd *Handles) error {
			for name, w := range want {
				have := must1(c.of(hd.FD(name)))(t)
				if why := have.differs(w); why != "" {
					t.Errorf("map %s: %s", name, why)
				}
				if w.value != nil && w.value.kind == structType && have.value == nil && w.Type != mapTypeArrayOfMaps {
					t.Errorf("map %s: the kernel tells nothing of its fields", name)
				}
			}
			return nil
		}))
	})
}

// One map that differs is brought over by itself; nothing else waits for it.
func TestAMapThatDiffersAloneIsBroughtOver(t *testing.T) {
	eachMode(t, func(t *testing.T, h *host) {
		must(t, h.up())
		cookie := h.enroll(newPod(t, "10.1.2.3/24"))
		name := map[Mode]string{Ads: "km_stats", Workload: "km_wstats"}[h.cfg.Mode]
		path, before := h.t_.pin(mapDir, name), h.record()
		fd := must1(pinGet(path))(t)
		info := must1(mapInfoOf(fd))(t)
		must(t, unix.Close(fd))
		fd = must1(mapCreate(name, info.Type, info.KeySize, info.ValueSize, 2*info.MaxEntries, info.Flags))(t)
		value := make([]byte, int(info.ValueSize)*must1(possibleCPUs())(t))
		value[0] = 42
		must(t, mapUpdateBytes(fd, uint32(0), value))
		must(t, os.Remove(path))
		must(t, pinPut(fd, path))
		must(t, unix.Close(fd))
		must(t, h.up())
		for _, m := range mapsOf(h.cfg.Mode) {
			if other := h.record().Maps[m.name] != before.Maps[m.name]; other != (m.name == name || m.perLoad) {
				t.Errorf("map %s is another one: %v", m.name, other)
			}
		}
		s := h.status()
		if h.cfg.Mode == Ads && s.Rare.Restarts != 42 || h.cfg.Mode == Workload && s.Workload.Rare.Reread != 42 {
			t.Errorf("%+v %+v", s.Rare, s.Workload)
		}
		if l := h.enrolled(); len(l) != 1 || l[0] != cookie {
			t.Errorf("enrolled: %v", l)
		}
		h.noProblem()
		h.upAgainChangesNothing()
	})
}
