// SPDX-License-Identifier: Apache-2.0

package events

/*
#include "bpf/workload.h"
*/
import "C"

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// The lease is this long and renewed this often: a reader that was killed costs the
// programs something no longer than that.
const (
	leaseFor   = 3 * time.Second
	renewEvery = time.Second
)

// lease is km_reader: until when events are wanted.
type lease struct {
	mem   []byte
	until *uint64
	last  uint64 // as this reader set it
	next  time.Duration
}

func openLease(fd int) (*lease, error) {
	mem, err := bpfmap.Map(fd, int(unsafe.Sizeof(C.struct_kw_reader{})))
	if err != nil {
		return nil, fmt.Errorf("map km_reader: %w", err)
	}
	r := (*C.struct_kw_reader)(unsafe.Pointer(&mem[0]))
	return &lease{mem: mem, until: (*uint64)(unsafe.Pointer(&r.until))}, nil
}

// renew prolongs the lease when it is time to, and says whether it was.
func (l *lease) renew() (bool, error) {
	now, err := monotonic()
	if err != nil || now < l.next {
		return false, err
	}
	l.next = now + renewEvery
	l.last = uint64(now + leaseFor)
	atomic.StoreUint64(l.until, l.last)
	return true, nil
}

// end gives the lease up, unless another reader holds it by now.
func (l *lease) end() { atomic.CompareAndSwapUint64(l.until, l.last, 0) }

// close ends the lease and frees what it holds.
func (l *lease) close() error {
	l.end()
	if err := unix.Munmap(l.mem); err != nil {
		return fmt.Errorf("unmap km_reader: %w", err)
	}
	return nil
}

// monotonic is the clock that the programs read.
func monotonic() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("read clock: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
