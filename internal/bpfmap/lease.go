// SPDX-License-Identifier: Apache-2.0

package bpfmap

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What is renewed lasts this long and is prolonged this often: a holder that was killed
// costs the programs something no longer than that.
const (
	leaseFor   = 3 * time.Second
	renewEvery = time.Second
)

// Lease is one holder's part in a word of a map that says until when programs are to do
// something: Now's time in ns, 0: not. Others may hold it too, and the last one's time counts.
// Its methods may be called by one goroutine at a time.
type Lease struct {
	until        *uint64
	last, before uint64 // until when this holder made it last, and another one then
}

// NewLease is a Lease of the word at until, which nobody holds by it yet.
func NewLease(until *uint64) *Lease { return &Lease{until: until} }

// Extend has it last for d from now on, and longer where somebody else asked for that.
func (l *Lease) Extend(d time.Duration) error {
	now, err := Now()
	if err != nil {
		return err
	}
	until := uint64(now + d)
	for {
		have := atomic.LoadUint64(l.until)
		if have >= until {
			return nil
		}
		if atomic.CompareAndSwapUint64(l.until, have, until) {
			if have != l.last {
				l.before = 0
				if have > uint64(now) {
					l.before = have
				}
			}
			l.last = until
			return nil
		}
	}
}

// Hold has it last until release is called, and a few seconds on where this process is killed,
// whatever the other goroutines wait for meanwhile. Until then no other method may be called.
func (l *Lease) Hold() (release func() error, err error) {
	if err := l.Extend(leaseFor); err != nil {
		return nil, err
	}
	stop, ended := make(chan struct{}), make(chan error)
	go func() { ended <- l.renew(stop) }()
	return func() error {
		close(stop)
		err := <-ended
		l.End()
		return err
	}, nil
}

// renew extends the lease each second.
func (l *Lease) renew(stop chan struct{}) error {
	t := time.NewTicker(renewEvery)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-t.C:
			if err := l.Extend(leaseFor); err != nil {
				return err
			}
		}
	}
}

// End takes back what this holder did, unless somebody else has prolonged it.
func (l *Lease) End() {
	atomic.CompareAndSwapUint64(l.until, l.last, l.before)
	*l = Lease{until: l.until}
}

// Now is the clock that programs read: CLOCK_MONOTONIC.
func Now() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("read clock: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
