// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const fibTrie = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.2
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
     +-- 10.9.0.0/16 2 0 2
        |-- 10.9.0.0
           /16 host LOCAL
Local:
     |-- 127.0.0.1
        /32 host LOCAL
`

func TestLocalRoutesAreTheAddressesOfDevices(t *testing.T) {
	got := must1(localRoutes(strings.NewReader(fibTrie)))(t)
	want := []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("127.0.0.1")}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, err := localRoutes(strings.NewReader("|-- x\n /32 host LOCAL\n")); err == nil {
		t.Error("what is no address was taken")
	}
}

func TestInet6Addresses(t *testing.T) {
	got := must1(inet6Addresses(strings.NewReader(
		"fd000000000000000000000000000002 02 40 00 80     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n")))(t)
	if !slices.Equal(got, []netip.Addr{netip.MustParseAddr("fd00::2"), netip.IPv6Loopback()}) {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{"xx", "fd00"} {
		if _, err := inet6Addresses(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestHostAddressesAreThoseOfTheFirstProcess(t *testing.T) {
	have := must1(HostAddresses())(t)
	if slices.ContainsFunc(have, netip.Addr.IsLoopback) || !slices.IsSortedFunc(have, netip.Addr.Compare) {
		t.Errorf("%v", have)
	}
}
