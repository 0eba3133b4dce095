// SPDX-License-Identifier: Apache-2.0

package main

/*
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

// One connection: opened, accepted, asked where it arrived, reset. Client and
// listener share the thread: over loopback connect() itself carries the
// handshake out, so that accept() finds it done.
static int connect_once(const struct sockaddr_in *to, int listener, uint32_t *ns,
			struct sockaddr_in *at)
{
	static const struct linger reset = { .l_onoff = 1 };
	socklen_t len = sizeof(*at);
	int fd, got = -1, ret = 0;
	uint64_t start;

	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)))
		goto fail;
	start = now();
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)))
		goto fail;
	*ns = (uint32_t)(now() - start);
	got = accept(listener, NULL, NULL);
	if (got < 0 || getsockname(got, (struct sockaddr *)at, &len))
		goto fail;
	goto out;
fail:
	ret = -errno;
out:
	close(fd);
	if (got >= 0)
		close(got);
	return ret;
}

// n connections to the addresses in turn, all on one port.
static int connect_many(const uint32_t *ips, int n_ips, uint16_t port, int listener,
			int n, uint32_t *ns, struct sockaddr_in *at)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int i, ret = 0;

	for (i = 0; i < n && !ret; i++) {
		to.sin_addr.s_addr = ips[i % n_ips];
		ret = connect_once(&to, listener, &ns[i], &at[i]);
	}
	return ret;
}

// Connects again and again until a connection arrives at an address; when is the
// time just before that connect(). Gives up at a deadline.
static int connect_until(uint32_t ip, uint16_t port, int listener, uint32_t want,
			 uint64_t deadline, uint64_t *when)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port),
				  .sin_addr.s_addr = ip };
	struct sockaddr_in at = {};
	uint32_t ns;
	int ret;

	do {
		*when = now();
		if (*when > deadline)
			return -ETIMEDOUT;
		ret = connect_once(&to, listener, &ns, &at);
	} while (!ret && at.sin_addr.s_addr != want);
	return ret;
}
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// arrivals is what became of a number of connections to one address.
type arrivals struct {
	nanos []uint32               // of each connect() alone
	at    map[netip.AddrPort]int // where they were accepted
}

// connect makes n connections from inside the pod, one after the other, to the
// addresses in turn. They must share a port.
func (p *pod) connect(n int, to ...netip.AddrPort) (*arrivals, error) {
	return p.connectTo(p.listeners[to[0].Port()], n, to...)
}

// connectTo is connect where connections are accepted by that listener.
func (p *pod) connectTo(listener, n int, to ...netip.AddrPort) (*arrivals, error) {
	nanos := make([]uint32, n)
	at := make([]C.struct_sockaddr_in, n)
	ips := make([]C.uint32_t, len(to))
	for i, a := range to {
		ips[i] = inMemory(a.Addr())
	}
	port := to[0].Port()
	ret := C.connect_many(&ips[0], C.int(len(ips)), C.uint16_t(port), C.int(listener),
		C.int(n), (*C.uint32_t)(&nanos[0]), &at[0])
	if ret < 0 {
		return nil, fmt.Errorf("connect to %v: %w", to, unix.Errno(-ret))
	}
	a := &arrivals{nanos: nanos, at: map[netip.AddrPort]int{}}
	for _, s := range at {
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], uint32(s.sin_addr.s_addr))
		a.at[netip.AddrPortFrom(netip.AddrFrom4(b), uint16(C.ntohs(s.sin_port)))]++
	}
	return a, nil
}

// inMemory is an IPv4 address as it lies in memory.
func inMemory(a netip.Addr) C.uint32_t {
	ip := a.As4()
	return C.uint32_t(binary.NativeEndian.Uint32(ip[:]))
}

// connectUntil connects from inside the pod until a connection arrives at want, and
// returns the time just before that connect().
func (p *pod) connectUntil(to, want netip.AddrPort, limit time.Duration) (time.Duration, error) {
	begin, err := monotonic()
	if err != nil {
		return 0, err
	}
	var when C.uint64_t
	ret := C.connect_until(inMemory(to.Addr()), C.uint16_t(to.Port()), C.int(p.listeners[want.Port()]),
		inMemory(want.Addr()), C.uint64_t(begin+limit), &when)
	if ret < 0 {
		return 0, fmt.Errorf("wait for a connection of %s to arrive at %s: %w", to, want, unix.Errno(-ret))
	}
	return time.Duration(when), nil
}

// monotonic is CLOCK_MONOTONIC.
func monotonic() (time.Duration, error) { return bpfmap.Now() }

// expect returns an error unless every connection arrived at one of the addresses.
func (a *arrivals) expect(where ...netip.AddrPort) error {
	for got, n := range a.at {
		if !slices.Contains(where, got) {
			return fmt.Errorf("%d of %d connections arrived at %s, none should", n, len(a.nanos), got)
		}
	}
	return nil
}
