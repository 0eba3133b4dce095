// SPDX-License-Identifier: Apache-2.0

package events

/*
#include <bpf/libbpf.h>
#include "bpf/workload.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/ring"
)

// idle is how long a wait for events lasts at most: programs wake a reader only when
// much is in the ring.
const idle = 100 * time.Millisecond

// Maps are the descriptors that Follow needs.
type Maps struct {
	Event, Reader, Stats int // km_event, km_reader, km_wstats
}

// Handler gets what Follow reads. An error of any of them ends it.
type Handler struct {
	Event func(Event) error
	// Lost is told how many events more were lost because the ring was full.
	Lost func(n uint64) error
	// Tick is called once a second.
	Tick func() error
}

// Follow reads events until ctx ends, which is no error: what was reported until then
// is read, too. What was in the ring before is dropped: it is from another reader's
// time.
func Follow(ctx context.Context, m Maps, h Handler) (err error) {
	r, err := ring.Open(m.Event, eventSize)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Drain(func([]byte) error { return nil }); err != nil {
		return err
	}
	lost, err := lostEvents(m.Stats)
	if err != nil {
		return err
	}
	l, err := openLease(m.Reader)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()

	for next := time.Now(); ctx.Err() == nil; {
		if now := time.Now(); !now.Before(next) {
			next = now.Add(time.Second)
			if lost, err = tellLost(m.Stats, lost, h.Lost); err != nil {
				return err
			}
			if err := h.Tick(); err != nil {
				return err
			}
		}
		n, err := r.Read(decoded(h.Event))
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		if err := r.Wait(idle); err != nil {
			return err
		}
	}
	if err := l.end(); err != nil {
		return err
	}
	if err := r.Drain(decoded(h.Event)); err != nil {
		return err
	}
	_, err = tellLost(m.Stats, lost, h.Lost)
	return err
}

// tellLost tells how many more events were lost than told, and returns how many there
// are now.
func tellLost(stats int, told uint64, tell func(uint64) error) (uint64, error) {
	now, err := lostEvents(stats)
	if err == nil && now > told {
		err = tell(now - told)
	}
	return now, err
}

// decoded has do called with what a record holds.
func decoded(do func(Event) error) func([]byte) error {
	return func(b []byte) error {
		e, err := decode(b)
		if err != nil {
			return err
		}
		return do(e)
	}
}

// lostEvents is km_wstats.lost_events over all CPUs.
func lostEvents(fd int) (uint64, error) {
	cpus := C.libbpf_num_possible_cpus()
	if cpus < 0 {
		return 0, fmt.Errorf("count CPUs: %w", syscall.Errno(-cpus))
	}
	// All u64: the kernel's rounding up to 8 bytes adds nothing.
	per := make([]C.struct_kw_stats, cpus)
	size := int(unsafe.Sizeof(per[0]))
	value := unsafe.Slice((*byte)(unsafe.Pointer(&per[0])), len(per)*size)
	if err := bpfmap.Lookup(fd, make([]byte, 4), value); err != nil {
		return 0, fmt.Errorf("read km_wstats: %w", err)
	}
	var sum uint64
	for i := range per {
		sum += uint64(per[i].lost_events)
	}
	return sum, nil
}
