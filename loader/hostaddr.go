// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// HostAddresses lists the addresses of all devices in the network namespace of the
// host's first process, loopback ones left out, sorted. They are read from files:
// to enter that namespace takes every capability that the process has.
func HostAddresses() ([]netip.Addr, error) {
	l := []netip.Addr{}
	for _, f := range []struct {
		path string
		read func(io.Reader) ([]netip.Addr, error)
	}{{"/proc/1/net/fib_trie", localRoutes}, {"/proc/1/net/if_inet6", inet6Addresses}} {
		b, err := os.ReadFile(f.path)
		if os.IsNotExist(err) && f.path != "/proc/1/net/fib_trie" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("read the host's addresses: %w", err)
		}
		have, err := f.read(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("read the host's addresses: %s: %w", f.path, err)
		}
		l = append(l, have...)
	}
	l = slices.DeleteFunc(l, func(a netip.Addr) bool { return a.IsLoopback() || a.IsUnspecified() })
	slices.SortFunc(l, netip.Addr.Compare)
	return slices.Compact(l), nil
}

// localRoutes reads fib_trie: an address of the host is a leaf with a route of 32
// bits and type LOCAL.
//
//	|-- 10.0.0.7
//	   /32 host LOCAL
func localRoutes(r io.Reader) ([]netip.Addr, error) {
	var l []netip.Addr
	leaf := ""
	s := bufio.NewScanner(r)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if a, ok := strings.CutPrefix(line, "|-- "); ok {
			leaf = a
			continue
		}
		if !strings.HasPrefix(line, "/32 ") || !strings.Contains(line, " LOCAL") {
			continue
		}
		a, err := netip.ParseAddr(leaf)
		if err != nil {
			return nil, err
		}
		l = append(l, a)
	}
	return l, s.Err()
}

// inet6Addresses reads if_inet6: 32 hexadecimal digits, then of which device.
func inet6Addresses(r io.Reader) ([]netip.Addr, error) {
	var l []netip.Addr
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) == 0 {
			continue
		}
		b, err := hex.DecodeString(f[0])
		if err != nil {
			return nil, err
		}
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return nil, fmt.Errorf("%q is not an address", f[0])
		}
		l = append(l, a)
	}
	return l, s.Err()
}
