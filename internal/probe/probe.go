// SPDX-License-Identifier: Apache-2.0

// Package probe runs a process in a cgroup and a network namespace of its own that makes
// connections there and says what became of them: what a program that is attached to
// the cgroup does to a connection is seen without touching anybody else's.
package probe

/*
#include <stdlib.h>
#include "probe.h"
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// patience is longer than all that the process waits for in one round.
const patience = 20 * time.Second

// Most of what one process listens at, and of the connections of one round.
const (
	MaxListeners = int(C.PROBE_LISTENERS)
	MaxConns     = int(C.PROBE_CONNS)
)

// ErrCannot says that the process could not be put where it belongs, so that nothing was
// tested.
var ErrCannot = errors.New("no process in a scratch network namespace")

// Probe is the process. Its methods are called one at a time.
type Probe struct {
	shared *C.struct_probe
	pid    int
	sync   int
}

// Conn is one connection of a round.
type Conn struct {
	To   netip.AddrPort
	Talk bool // one byte is sent
}

// Outcome is what became of it.
type Outcome struct {
	// Err is nil where it arrived and was heard, else which of its steps failed, with
	// the errno.
	Err error
	// At is the listener that it arrived at.
	At netip.AddrPort
	// Bytes are what arrived of a Conn that talks; its byte is the last one.
	Bytes []byte
}

// Start starts the process in the cgroup, in the caller's own where that is -1, and has
// it listen. Errors are ErrCannot. Close ends it.
func Start(cgroup int, listen []netip.AddrPort) (_ *Probe, err error) {
	if len(listen) > MaxListeners {
		return nil, fmt.Errorf("start probe: %d listeners, %d at most", len(listen), MaxListeners)
	}
	p := &Probe{shared: C.probe_new(), pid: -1, sync: -1}
	if p.shared == nil {
		return nil, fmt.Errorf("%w: %w", ErrCannot, unix.ENOMEM)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	for i, a := range listen {
		p.shared.listeners[i].at = toC(a)
	}
	p.shared.n_listeners = C.uint32_t(len(listen))
	var pid, sync C.int
	if rc := C.probe_start(p.shared, C.int(cgroup), &pid, &sync); rc < 0 {
		return nil, fmt.Errorf("%w: clone: %w", ErrCannot, syscall.Errno(-rc))
	}
	p.pid, p.sync = int(pid), int(sync)
	err = p.ready()
	for _, e := range []struct {
		what  string
		errno C.int
	}{{"enter its cgroup", p.shared.cgroup_error}, {"make it", p.shared.netns_error}} {
		if e.errno != 0 {
			return nil, fmt.Errorf("%w: %s: %w", ErrCannot, e.what, syscall.Errno(e.errno))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCannot, err)
	}
	return p, nil
}

// Cookie is that of the process's namespace; an error where the kernel does not tell:
// before 5.14.
func (p *Probe) Cookie() (uint64, error) {
	if e := p.shared.cookie_error; e != 0 {
		return 0, fmt.Errorf("ask for the cookie of a namespace: %w", syscall.Errno(e))
	}
	return uint64(p.shared.cookie), nil
}

// Listens returns nil where it listens at the i-th address.
func (p *Probe) Listens(i int) error {
	if e := p.shared.listeners[i].error; e != 0 {
		return syscall.Errno(e)
	}
	return nil
}

// Round closes the connections of the round before and makes these, one after the other.
// They stay open. An error says that the process is gone.
func (p *Probe) Round(conns ...Conn) ([]Outcome, error) {
	if len(conns) > MaxConns {
		return nil, fmt.Errorf("probe: %d connections, %d at most", len(conns), MaxConns)
	}
	for i, c := range conns {
		p.shared.conns[i].to = toC(c.To)
		p.shared.conns[i].talk = C.bool(c.Talk)
	}
	p.shared.n_conns = C.uint32_t(len(conns))
	if err := unix.Send(p.sync, []byte{'g'}, unix.MSG_NOSIGNAL); err != nil {
		return nil, fmt.Errorf("probe: begin a round: %w", err)
	}
	if err := p.ready(); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	out := make([]Outcome, len(conns))
	for i := range conns {
		out[i] = p.outcome(&p.shared.conns[i])
	}
	return out, nil
}

var stepNames = map[uint32]string{C.PROBE_SOCKET: "make a socket", C.PROBE_CONNECT: "connect",
	C.PROBE_ARRIVE: "arrive", C.PROBE_SEND: "send", C.PROBE_RECEIVE: "receive"}

func (p *Probe) outcome(c *C.struct_probe_conn) Outcome {
	var o Outcome
	if c.listener >= 0 {
		o.At = fromC(&p.shared.listeners[c.listener].at)
	}
	for _, b := range c.bytes[:c.received] {
		o.Bytes = append(o.Bytes, byte(b))
	}
	if c.error != 0 {
		o.Err = fmt.Errorf("%s: %w", stepNames[uint32(c.step)], syscall.Errno(c.error))
	}
	return o
}

// ready waits until the process has ended a round.
func (p *Probe) ready() error {
	for until := time.Now().Add(patience); ; {
		left := max(time.Until(until), 0) // less would be for ever
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.sync), Events: unix.POLLIN}}, int(left.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait for the process: %w", err)
		case n == 0:
			return fmt.Errorf("wait for the process: %w", unix.ETIMEDOUT)
		}
		var b [1]byte
		n, err = unix.Read(p.sync, b[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait for the process: %w", err)
		case n == 0:
			return errors.New("the process ended")
		}
		return nil
	}
}

// Close ends the process, and with it its namespace.
func (p *Probe) Close() error {
	var errs []error
	if p.sync >= 0 {
		errs = append(errs, unix.Close(p.sync))
		p.sync = -1
	}
	if p.pid > 0 {
		if err := unix.Kill(p.pid, unix.SIGKILL); err != nil {
			errs = append(errs, fmt.Errorf("end the probe: %w", err))
		}
		errs = append(errs, reap(p.pid))
		p.pid = -1
	}
	if p.shared != nil {
		if rc := C.probe_free(p.shared); rc < 0 {
			errs = append(errs, syscall.Errno(-rc))
		}
		p.shared = nil
	}
	return errors.Join(errs...)
}

// reap waits for the end of a process that tells nobody of it.
func reap(pid int) error {
	for {
		_, err := unix.Wait4(pid, nil, unix.WALL, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func toC(a netip.AddrPort) C.struct_probe_addr {
	c := C.struct_probe_addr{family: 6, port: C.uint16_t(toNet(a.Port()))}
	ip := a.Addr().AsSlice()
	if a.Addr().Is4() {
		c.family = 4
	}
	for i, b := range ip {
		c.ip[i] = C.uint8_t(b)
	}
	return c
}

func fromC(c *C.struct_probe_addr) netip.AddrPort {
	b := *(*[16]byte)(unsafe.Pointer(&c.ip))
	ip := netip.AddrFrom16(b)
	if c.family == 4 {
		ip = netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrPortFrom(ip, toNet(uint16(c.port)))
}

// toNet turns a port from host to network byte order and back.
func toNet(p uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], p)
	return binary.NativeEndian.Uint16(b[:])
}
