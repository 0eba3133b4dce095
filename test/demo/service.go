// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A service is an address that clients use, and the share of its connections,
// in percent, that each endpoint is to get.
type service struct {
	addr   netip.AddrPort
	shares map[netip.AddrPort]int
}

func parseService(arg string) (service, error) {
	name, list, ok := strings.Cut(arg, "=")
	if !ok {
		return service{}, fmt.Errorf("parse %q: no '='", arg)
	}
	addr, err := netip.ParseAddrPort(name)
	if err != nil {
		return service{}, fmt.Errorf("parse service: %w", err)
	}
	s := service{addr: addr, shares: map[netip.AddrPort]int{}}
	for item := range strings.SplitSeq(list, ",") {
		i := strings.LastIndexByte(item, ':')
		if i < 0 {
			return service{}, fmt.Errorf("parse %q: no share", item)
		}
		ep, err := netip.ParseAddrPort(item[:i])
		if err != nil {
			return service{}, fmt.Errorf("parse endpoint: %w", err)
		}
		if s.shares[ep], err = strconv.Atoi(item[i+1:]); err != nil {
			return service{}, fmt.Errorf("parse share of %s: %w", ep, err)
		}
	}
	return s, nil
}

// listenAll starts a listener on each endpoint, which tells every connection
// its own address and closes it.
func listenAll(s service) error {
	for ep := range s.shares {
		l, err := net.Listen("tcp", ep.String())
		if err != nil {
			return fmt.Errorf("listen on an endpoint: %w", err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				answer(c, ep)
			}
		}()
	}
	return nil
}

func answer(c net.Conn, ep netip.AddrPort) {
	// A client that is gone already misses the count, and is seen there.
	if _, err := io.WriteString(c, ep.String()); err != nil {
		fmt.Println("answer:", err)
	}
	if err := c.Close(); err != nil {
		fmt.Println("close:", err)
	}
}

// connectAll connects n times to the service and counts who answered.
func connectAll(s service, n int) (map[netip.AddrPort]int, error) {
	got := map[netip.AddrPort]int{}
	for range n {
		c, err := net.DialTimeout("tcp", s.addr.String(), 5*time.Second)
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		b, err := io.ReadAll(c)
		if err != nil {
			return nil, fmt.Errorf("read from %s: %w", s.addr, err)
		}
		if err := c.Close(); err != nil {
			return nil, fmt.Errorf("close connection to %s: %w", s.addr, err)
		}
		ep, err := netip.ParseAddrPort(string(b))
		if err != nil {
			return nil, fmt.Errorf("answer of %s: %w", s.addr, err)
		}
		got[ep]++
	}
	return got, nil
}

// report prints a line for each endpoint and returns how many of them got more
// or less than their share.
func report(w io.Writer, s service, got map[netip.AddrPort]int, n int) (off int) {
	all := maps.Clone(s.shares)
	for ep := range got {
		all[ep] += 0
	}
	for _, ep := range slices.SortedFunc(maps.Keys(all), netip.AddrPort.Compare) {
		mark := ""
		if d := got[ep]*100 - all[ep]*n; d > n || d < -n {
			mark = "  <- off"
			off++
		}
		fmt.Fprintf(w, "%s\t%s\t%d%%\t%d\t%.1f%%%s\n", s.addr, ep, all[ep], got[ep], 100*float64(got[ep])/float64(n), mark)
	}
	return off
}
