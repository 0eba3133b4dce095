// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// OwnDialer makes connections of kmesh-node itself: under --manage all the
// programs leave them alone. The zero Dialer field is net.Dialer's default.
type OwnDialer struct {
	net.Dialer
	h *Handles
}

// OwnDialer returns a dialer whose connections are left alone. h stays open for
// as long as it is used.
func (h *Handles) OwnDialer() *OwnDialer { return &OwnDialer{h: h} }

// DialContext is net.Dialer's. A socket is in the kernel's list from before its
// connect until it has ended: no longer is needed.
func (d *OwnDialer) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	var own ownSockets
	dialer := d.Dialer
	next := dialer.ControlContext
	dialer.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		if err := own.add(d.h.fds["km_own"], c); err != nil {
			return err
		}
		if next != nil {
			return next(ctx, network, address, c)
		}
		return nil
	}
	defer func() {
		if e := own.remove(d.h.fds["km_own"]); e != nil && err == nil {
			err = errors.Join(e, conn.Close())
			conn = nil
		}
	}()
	return dialer.DialContext(ctx, network, address)
}

// ownSockets are the cookies of one dial: it may try several addresses at once.
type ownSockets struct {
	mu      sync.Mutex
	cookies []uint64
}

func (o *ownSockets) add(fd int, c syscall.RawConn) error {
	var cookie uint64
	var err error
	if e := c.Control(func(s uintptr) { cookie, err = cookieOption(int(s), unix.SO_COOKIE) }); e != nil || err != nil {
		return fmt.Errorf("read socket cookie: %w", errors.Join(e, err))
	}
	if err := mapUpdate(fd, cookie, uint32(1)); err != nil {
		return fmt.Errorf("register own socket: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cookies = append(o.cookies, cookie)
	return nil
}

func (o *ownSockets) remove(fd int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var errs []error
	for _, c := range o.cookies {
		if err := mapDelete(fd, c); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("release own socket: %w", err))
		}
	}
	return errors.Join(errs...)
}
