// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/netip"
	"testing"
)

const example = "198.51.100.10:80=192.0.2.11:8080:60,[2001:db8::1]:8080:40"

func TestServiceIsReadWithBothFamilies(t *testing.T) {
	s, err := parseService(example)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.shares[netip.MustParseAddrPort("[2001:db8::1]:8080")]; got != 40 || s.addr.Port() != 80 || len(s.shares) != 2 {
		t.Errorf("parseService(%q) = %+v", example, s)
	}
	for _, bad := range []string{"", "198.51.100.10:80", "x=192.0.2.1:80:1", "198.51.100.10:80=192.0.2.1:80", "198.51.100.10:80=192.0.2.1:80:x"} {
		if _, err := parseService(bad); err == nil {
			t.Errorf("parseService(%q): no error", bad)
		}
	}
}

func TestReportCountsWhatIsNotAsConfigured(t *testing.T) {
	s, err := parseService(example)
	if err != nil {
		t.Fatal(err)
	}
	a, b := netip.MustParseAddrPort("192.0.2.11:8080"), netip.MustParseAddrPort("[2001:db8::1]:8080")
	stranger := netip.MustParseAddrPort("192.0.2.99:8080")
	for _, c := range []struct {
		name string
		got  map[netip.AddrPort]int
		off  int
	}{
		{"exact", map[netip.AddrPort]int{a: 600, b: 400}, 0},
		{"within a percent", map[netip.AddrPort]int{a: 610, b: 390}, 0},
		{"beyond", map[netip.AddrPort]int{a: 611, b: 389}, 2},
		{"all to one", map[netip.AddrPort]int{a: 1000}, 2},
		{"to an endpoint that is not configured", map[netip.AddrPort]int{a: 600, b: 380, stranger: 20}, 2},
	} {
		if off := report(io.Discard, s, c.got, 1000); off != c.off {
			t.Errorf("%s: %d off, want %d", c.name, off, c.off)
		}
	}
}
