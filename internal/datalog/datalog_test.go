// SPDX-License-Identifier: Apache-2.0

package datalog

import (
	"context"
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	bpf "github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// An entry lies as struct km_log_entry does, field by field.
func TestAnEntryIsReadAsProgramsWriteIt(t *testing.T) {
	b := make([]byte, 64)
	ne := binary.NativeEndian
	ne.PutUint64(b[0:], 5_000_000_000)
	ne.PutUint64(b[8:], 77)
	ne.PutUint32(b[16:], 4321)
	ne.PutUint16(b[20:], 16)
	binary.BigEndian.PutUint16(b[22:], 80)
	orig, dst := netip.MustParseAddr("10.96.0.1").As16(), netip.MustParseAddr("2001:db8::2").As16()
	copy(b[24:], orig[:])
	copy(b[40:], dst[:])
	binary.BigEndian.PutUint16(b[56:], 8080)
	ne.PutUint16(b[58:], 2)
	ne.PutUint32(b[60:], 9)
	want := Entry{Time: 5 * time.Second, What: Sent, Level: Info, Netns: 77, PID: 4321, Arg: 9,
		Original: netip.MustParseAddrPort("10.96.0.1:80"), Destination: netip.MustParseAddrPort("[2001:db8::2]:8080")}
	if got := decode(b); got != want || entrySize != len(b) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestWhatEntriesSay(t *testing.T) {
	at, to := netip.MustParseAddrPort("10.96.0.1:80"), netip.MustParseAddrPort("10.0.0.2:8080")
	for _, c := range []struct {
		what   What
		packet bool
		arg    uint32
		number uint32
		want   string
	}{
		{Sent, false, 3, 3, "connect to 10.96.0.1:80: sent to 10.0.0.2:8080 of NAME"},
		{SentWaypoint, false, 3, 3, "connect to 10.96.0.1:80: sent to 10.0.0.2:8080, the waypoint of NAME"},
		{NoEndpoint, false, 3, 3, "connect to 10.96.0.1:80: left alone: NAME has no endpoint for it"},
		{AllEjected, false, 3, 3, "connect to 10.96.0.1:80: every endpoint of NAME is ejected: one is taken all the same"},
		{Uncounted, false, 3, 3, "connect to 10.96.0.1:80: its result will not be counted for NAME: too many connections are open"},
		{NoWaypoint, false, 3, 3, "connect to 10.96.0.1:80: left alone: no room to remember it for the waypoint of NAME"},
		{Unsealed, false, 0, 0, "connect to 10.96.0.1:80: left alone: what is configured for it changed all the while"},
		{Unmanaged, false, 0, 0, "connect to 10.96.0.1:80: left alone: its network namespace is not enrolled"},
		{Protocol, false, 17, 0, "connect to 10.96.0.1:80: left alone: IP protocol 17 is not TCP"},
		{NoListener, false, 0, 0, "connect to 10.96.0.1:80: left alone: nothing is configured for it"},
		{NoRoute, false, 0, 0, "connect to 10.96.0.1:80: left alone: its listener leads nowhere"},
		{Passthrough, false, 3, 3, "connect to 10.96.0.1:80: left alone: NAME passes through"},
		{Denied, true, 3, 3, "packet from 10.96.0.1:80 to 10.0.0.2:8080: denied: NAME"},
		{Denied, true, 0, 0, "packet from 10.96.0.1:80 to 10.0.0.2:8080: denied: no ALLOW policy matches"},
		{Unparsed, true, 0, 0, "packet: dropped: it hides TCP's header"},
		{Unsealed, true, 0, 0, "packet from 10.96.0.1:80 to 10.0.0.2:8080: dropped: whose its addresses are changed all the while"},
	} {
		e := Entry{What: c.what, Arg: c.arg, Netns: 7, Original: at, Destination: to}
		if c.packet {
			e.Netns = 0
		}
		if got := e.Text("NAME"); got != c.want || e.Number() != c.number {
			t.Errorf("%q of %d, want %q of %d", got, e.Number(), c.want, c.number)
		}
	}
	unknown := Entry{What: 999, Netns: 7, Original: at}
	if got := unknown.Text(""); !strings.Contains(got, "999") {
		t.Errorf("%q", got)
	}
}

func TestLevelsHaveNames(t *testing.T) {
	for i, name := range Levels() {
		if l, err := ParseLevel(name); err != nil || l != Level(i) || l.String() != name {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
	if _, err := ParseLevel("loud"); err == nil || !strings.Contains(err.Error(), "off, error, info, debug") {
		t.Error(err)
	}
	if s := Level(9).String(); s != "level 9" {
		t.Error(s)
	}
}

// newMap is a map as the loader makes it.
func newMap(t *testing.T, typ bpf.MapType, key, value, entries int, flags uint32) *bpf.BPFMapLow {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes a BPF map")
	}
	m, err := bpf.CreateMap(typ, "watch", key, value, entries, &bpf.BPFMapCreateOpts{MapFlags: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Close(m.FileDescriptor()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// newWatch is a km_watch, and a look at its words.
func newWatch(t *testing.T) (w *Watch, word func(i int) uint64) {
	t.Helper()
	m := newMap(t, bpf.MapTypeArray, 4, 64, 1, unix.BPF_F_MMAPABLE)
	w, err := OpenWatch(m.FileDescriptor())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, func(i int) uint64 {
		zero := make([]byte, 4)
		v, err := m.GetValue(unsafe.Pointer(&zero[0]))
		if err != nil {
			t.Fatal(err)
		}
		return binary.NativeEndian.Uint64(v[i*8:])
	}
}

// Words of km_watch.
const (
	levelAt      = 0
	levelUntilAt = 2
	countUntilAt = 3
)

func TestWhatIsWatchedProgramsRead(t *testing.T) {
	w, word := newWatch(t)
	w.SetLevel(Debug)
	if word(levelAt) != 3 || w.Level() != Debug || word(levelUntilAt) != 0 {
		t.Errorf("level %d until %d", word(levelAt), word(levelUntilAt))
	}
	if err := w.CountFor(time.Hour); err != nil {
		t.Fatal(err)
	}
	if left := lasts(t, word(countUntilAt)); left < 59*time.Minute || left > time.Hour {
		t.Errorf("counting for %v", left)
	}
	if w.CountNoMore(); word(countUntilAt) != 0 {
		t.Errorf("counting until %d", word(countUntilAt))
	}
}

// lasts is how far away a time is.
func lasts(t *testing.T, until uint64) time.Duration {
	t.Helper()
	now, err := bpfmap.Now()
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(until) - now
}

func TestALevelLastsAsLongAsItsReader(t *testing.T) {
	const lease = 3 * time.Second
	w, word := newWatch(t)
	r, err := NewReader(newMap(t, bpf.MapTypeRingbuf, 0, 0, 1<<16, 0).FileDescriptor(), w)
	if err != nil {
		t.Fatal(err)
	}
	w.SetLevel(Info)
	first := word(levelUntilAt)
	if left := lasts(t, first); left < lease-time.Second || left > lease {
		t.Errorf("before anybody follows it lasts %v", left)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	// What is done with what was read may take its time.
	err = r.Follow(ctx, func([]Entry, uint64) {
		for until := time.Now().Add(20 * time.Second); word(levelUntilAt) == first && time.Now().Before(until); {
			time.Sleep(10 * time.Millisecond)
		}
		stop()
	})
	renewed := word(levelUntilAt)
	if err != nil || renewed <= first || w.Level() != Info {
		t.Errorf("%v, level %v until %d, first %d", err, w.Level(), renewed, first)
	}
	if left := lasts(t, renewed); left > lease {
		t.Errorf("who is killed costs something for %v", left)
	}
	if err := r.Close(); err != nil || word(levelUntilAt) != 0 {
		t.Errorf("%v; after the reader the level lasts until %d", err, word(levelUntilAt))
	}
}
