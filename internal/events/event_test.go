// SPDX-License-Identifier: Apache-2.0

package events

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// wire lays an event out as struct kw_event does, field by field.
func wire(typ uint16) []byte {
	b := make([]byte, 112)
	ne := binary.NativeEndian
	ne.PutUint64(b[0:], 5_000_000_000) // time
	ne.PutUint64(b[8:], 77)            // netns
	src, dst, orig := netip.MustParseAddr("10.0.0.1").As16(), netip.MustParseAddr("2001:db8::2").As16(), netip.MustParseAddr("10.96.0.1").As16()
	copy(b[16:], src[:])
	copy(b[32:], dst[:])
	copy(b[48:], orig[:])
	binary.BigEndian.PutUint16(b[64:], 40001)
	binary.BigEndian.PutUint16(b[66:], 8080)
	binary.BigEndian.PutUint16(b[68:], 80)
	ne.PutUint16(b[70:], typ)
	ne.PutUint32(b[72:], 9)  // resource
	ne.PutUint32(b[76:], 11) // policy
	ne.PutUint64(b[80:], 1000)
	ne.PutUint64(b[88:], 2000)
	ne.PutUint64(b[96:], 3_000_000)
	ne.PutUint32(b[104:], 250)
	ne.PutUint32(b[108:], 3) // service, waypoint
	return b
}

func want(typ Type) Event {
	return Event{
		Type: typ, Time: 5 * time.Second, Netns: 77,
		Source:      netip.MustParseAddrPort("10.0.0.1:40001"),
		Destination: netip.MustParseAddrPort("[2001:db8::2]:8080"),
		Original:    netip.MustParseAddrPort("10.96.0.1:80"),
		Resource:    9, Policy: 11, Waypoint: true,
		Sent: 1000, Received: 2000, Duration: 3 * time.Millisecond, RTT: 250 * time.Microsecond,
	}
}

func TestAnEventIsReadAsTheProgramsWriteIt(t *testing.T) {
	got, err := decode(wire(2))
	if err != nil || got != want(Closed) {
		t.Errorf("%+v, %v; want %+v", got, err, want(Closed))
	}
	if got, err := decode(wire(2)[:111]); err == nil {
		t.Errorf("a short event became %+v", got)
	}
	failed := want(Failed)
	failed.Policy, failed.Errno = 0, 11
	if got, err := decode(wire(6)); err != nil || got != failed {
		t.Errorf("%+v, %v; want %+v", got, err, failed)
	}
	plain := wire(1)
	plain[108] = 1
	if got, err := decode(plain); err != nil || got.Waypoint {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTypesHaveNames(t *testing.T) {
	for typ, name := range map[Type]string{1: "opened", 2: "closed", 3: "refused", 4: "timed out", 5: "denied", 6: "failed", 7: "type 7"} {
		if typ.String() != name {
			t.Errorf("%d is %q, want %q", uint16(typ), typ, name)
		}
	}
}
