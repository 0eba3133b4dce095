// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	bpf "github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/ring"
)

const (
	testRingBytes = 1 << 16 // more than a batch of events
	leaseBytes    = 64
	statsBytes    = 64
	lostAt        = 48 // offset of lost_events
)

// world is the maps of events, and a program that reports what lies in a map.
type world struct {
	t              *testing.T
	ring, template *bpf.BPFMapLow
	reader, stats  *bpf.BPFMapLow
	prog           int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes BPF maps")
	}
	w := &world{t: t}
	make1 := func(typ bpf.MapType, name string, key, value, entries int, flags uint32) *bpf.BPFMapLow {
		m, err := bpf.CreateMap(typ, name, key, value, entries, &bpf.BPFMapCreateOpts{MapFlags: flags})
		if err != nil {
			t.Fatalf("create map %s: %v", name, err)
		}
		t.Cleanup(func() {
			if err := unix.Close(m.FileDescriptor()); err != nil {
				t.Error(err)
			}
		})
		return m
	}
	w.ring = make1(bpf.MapTypeRingbuf, "ring", 0, 0, testRingBytes, 0)
	w.template = make1(bpf.MapTypeArray, "template", 4, eventSize, 1, 0)
	w.reader = make1(bpf.MapTypeArray, "reader", 4, leaseBytes, 1, unix.BPF_F_MMAPABLE)
	w.stats = make1(bpf.MapTypePerCPUArray, "stats", 4, statsBytes, 1, 0)
	w.prog = w.load()
	return w
}

// load loads bpf_ringbuf_output(ring, template[0], eventSize, 0).
func (w *world) load() int {
	const (
		lddw, mov, call, exit = 0x18, 0xb7, 0x85, 0x95
		pseudoMap, pseudoVal  = 1, 2
		ringbufOutput         = 130
	)
	insn := func(code, dst, src uint8, imm int) uint64 {
		return uint64(code) | uint64(dst)<<8 | uint64(src)<<12 | uint64(uint32(imm))<<32
	}
	prog := []uint64{
		insn(lddw, 1, pseudoMap, w.ring.FileDescriptor()), 0,
		insn(lddw, 2, pseudoVal, w.template.FileDescriptor()), 0,
		insn(mov, 3, 0, eventSize),
		insn(mov, 4, 0, 0),
		insn(call, 0, 0, ringbufOutput),
		insn(exit, 0, 0, 0),
	}
	license := []byte("GPL\x00")
	attr := struct {
		typ, n         uint32
		insns, license uint64
		pad            [12]uint64
	}{typ: unix.BPF_PROG_TYPE_SOCKET_FILTER, n: uint32(len(prog)),
		insns: uint64(uintptr(unsafe.Pointer(&prog[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0])))}
	fd, _, err := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(prog)
	runtime.KeepAlive(license)
	if err != 0 {
		w.t.Fatalf("load program: %v", err)
	}
	w.t.Cleanup(func() {
		if err := unix.Close(int(fd)); err != nil {
			w.t.Error(err)
		}
	})
	return int(fd)
}

// report makes the program report an event, and says whether there was room.
func (w *world) report(event []byte) bool {
	w.t.Helper()
	zero := make([]byte, 4)
	if err := w.template.Update(unsafe.Pointer(&zero[0]), unsafe.Pointer(&event[0])); err != nil {
		w.t.Fatal(err)
	}
	packet := make([]byte, 64)
	attr := struct {
		fd, retval, in, out uint32
		dataIn, dataOut     uint64
		repeat, duration    uint32
		pad                 [8]uint64
	}{fd: uint32(w.prog), in: uint32(len(packet)), dataIn: uint64(uintptr(unsafe.Pointer(&packet[0]))), repeat: 1}
	_, _, err := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_TEST_RUN, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(packet)
	if err != 0 {
		w.t.Fatalf("run program: %v", err)
	}
	return attr.retval == 0
}

// until is the lease as the programs see it.
func (w *world) until() uint64 {
	w.t.Helper()
	zero := make([]byte, 4)
	v, err := w.reader.GetValue(unsafe.Pointer(&zero[0]))
	if err != nil {
		w.t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(v)
}

// extend is another reader's doing.
func (w *world) extend(until uint64) {
	w.t.Helper()
	zero, v := make([]byte, 4), make([]byte, leaseBytes)
	binary.NativeEndian.PutUint64(v, until)
	if err := w.reader.Update(unsafe.Pointer(&zero[0]), unsafe.Pointer(&v[0])); err != nil {
		w.t.Fatal(err)
	}
}

// lose counts n events as lost, on the last CPU.
func (w *world) lose(n uint64) {
	w.t.Helper()
	zero := make([]byte, 4)
	cpus, err := bpf.NumPossibleCPUs()
	if err != nil {
		w.t.Fatal(err)
	}
	v := make([]byte, statsBytes*cpus)
	binary.NativeEndian.PutUint64(v[statsBytes*(cpus-1)+lostAt:], n)
	if err := w.stats.Update(unsafe.Pointer(&zero[0]), unsafe.Pointer(&v[0])); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) maps() Maps {
	return Maps{w.ring.FileDescriptor(), w.reader.FileDescriptor(), w.stats.FileDescriptor()}
}

func TestFollowReadsWhatProgramsReport(t *testing.T) {
	w := newWorld(t)
	w.report(wire(5)) // of an earlier reader's time
	w.lose(3)
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	var got []Event
	var lost uint64
	ticks := 0
	err := Follow(ctx, w.maps(), Handler{
		Event: func(e Event) error { got = append(got, e); return nil },
		Lost:  func(n uint64) error { lost += n; stop(); return nil },
		Tick: func() error {
			now, err := bpfmap.Now()
			if err != nil {
				return err
			}
			if left := time.Duration(w.until()) - now; left < 2*time.Second || left > 3*time.Second {
				return fmt.Errorf("the lease is for %v more", left)
			}
			if ticks++; ticks == 1 {
				w.report(wire(1))
				w.report(wire(2))
				w.lose(5)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0] != want(Opened) || got[1] != want(Closed) {
		t.Errorf("events %+v", got)
	}
	if lost != 2 {
		t.Errorf("%d lost, want 2", lost)
	}
	if w.until() != 0 {
		t.Error("the lease outlives its reader")
	}
}

func TestARingOfMoreThanABatchIsReadWhole(t *testing.T) {
	w := newWorld(t)
	n := 0
	for w.report(wire(1)) {
		n++
	}
	r, err := ring.Open(w.ring.FileDescriptor(), eventSize)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []int
	for {
		k, err := r.Read(func([]byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if k == 0 {
			break
		}
		got = append(got, k)
	}
	sum := 0
	for _, k := range got {
		sum += k
	}
	if len(got) < 2 || sum != n {
		t.Errorf("%d events were read as %v", n, got)
	}
}

func TestTheLastEventsAreReadToo(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(context.Background())
	n := 0
	err := Follow(ctx, w.maps(), Handler{
		Event: func(Event) error {
			if n++; n == 1 {
				w.report(wire(2))
				stop()
			}
			return nil
		},
		Tick: func() error { w.report(wire(1)); return nil },
	})
	if n != 2 || err != nil {
		t.Errorf("%d events, %v", n, err)
	}
}

func TestAnErrorEndsFollow(t *testing.T) {
	w := newWorld(t)
	bad := errors.New("bad")
	err := Follow(context.Background(), w.maps(), Handler{Tick: func() error { return bad }})
	if !errors.Is(err, bad) || w.until() != 0 {
		t.Errorf("%v, lease %d", err, w.until())
	}
}

// The ring counts what has no room, a lease that is over would not.
func TestEventsAreWantedWhileAHandlerTakesItsTime(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var first, then uint64
	err := Follow(ctx, w.maps(), Handler{Tick: func() error {
		first = w.until()
		for until := time.Now().Add(20 * time.Second); w.until() == first && time.Now().Before(until); {
			time.Sleep(10 * time.Millisecond)
		}
		then = w.until()
		stop()
		return nil
	}})
	if err != nil || then <= first || w.until() != 0 {
		t.Errorf("%v, lease until %d, then %d, at the end %d", err, first, then, w.until())
	}
}

func TestAnotherReadersLeaseStays(t *testing.T) {
	w := newWorld(t)
	l, err := openLease(w.reader.FileDescriptor())
	if err != nil {
		t.Fatal(err)
	}
	others := w.until() + 1
	w.extend(others)
	if err := l.close(); err != nil || w.until() != others {
		t.Errorf("%v, lease %d, another reader's %d", err, w.until(), others)
	}
}
