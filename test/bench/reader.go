// SPDX-License-Identifier: Apache-2.0

package main

/*
#include <stdlib.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "bpf/workload.h"

#define KINDS 8 // more than there are in enum kw_event_type

static int count_event(void *ctx, void *data, size_t size)
{
	__u64 *counts = ctx;
	const struct kw_event *e = data;

	if (size >= sizeof(*e) && e->type < KINDS)
		__atomic_fetch_add(&counts[e->type], 1, __ATOMIC_RELAXED);
	return 0;
}

static struct ring_buffer *open_ring(int fd, __u64 *counts)
{
	return ring_buffer__new(fd, count_event, counts, NULL);
}

static int want_events(int fd, __u64 until)
{
	struct kw_reader value = { .until = until };
	__u32 key = 0;

	return bpf_map_update_elem(fd, &key, &value, BPF_ANY);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A reader follows km_event as `events` does, on another CPU than the one that
// connects. It reads at all times; follow says when programs write.
type reader struct {
	ring   *C.struct_ring_buffer
	lease  int        // km_reader
	counts *[8]uint64 // by enum kw_event_type
	stop   atomic.Bool
	ended  chan struct{}
}

func (s *sandbox) newReader() (*reader, error) {
	ring, err := openPin(filepath.Join(s.pins("map"), "km_event"))
	if err != nil {
		return nil, err
	}
	defer closeFD(ring)
	r := &reader{
		counts: (*[8]uint64)(C.calloc(C.KINDS, C.sizeof___u64)),
		ended:  make(chan struct{}),
	}
	if r.lease, err = openPin(filepath.Join(s.pins("map"), "km_reader")); err != nil {
		return nil, err
	}
	if r.ring, err = C.open_ring(C.int(ring), (*C.__u64)(&r.counts[0])); r.ring == nil {
		return nil, fmt.Errorf("open ring buffer km_event: %w", err)
	}
	go r.poll()
	return r, nil
}

func (r *reader) poll() {
	runtime.LockOSThread() // it ends with the goroutine, affinity and all
	pinLastCPU()
	for !r.stop.Load() {
		C.ring_buffer__poll(r.ring, 50)
		C.ring_buffer__consume(r.ring) // not every event wakes
	}
	close(r.ended)
}

func (r *reader) close() {
	r.stop.Store(true)
	<-r.ended
	C.ring_buffer__free(r.ring)
	C.free(unsafe.Pointer(r.counts))
	closeFD(r.lease)
}

// follow calls f while events are wanted; by nobody without a reader.
func (r *reader) follow(f func() error) (err error) {
	if r == nil {
		return f()
	}
	now, err := monotonic()
	if err != nil {
		return err
	}
	if err := r.want(uint64(now + time.Hour)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.want(0)) }()
	return f()
}

func (r *reader) want(until uint64) error {
	if ret := C.want_events(C.int(r.lease), C.__u64(until)); ret < 0 {
		return fail(ret, "update", "km_reader")
	}
	return nil
}

// seen is how many connections were reported as opened, and how many as closed.
func (r *reader) seen() (opened, closed uint64) {
	return atomic.LoadUint64(&r.counts[C.KW_E_OPENED]), atomic.LoadUint64(&r.counts[C.KW_E_CLOSED])
}

// pinLastCPU keeps the thread off the CPU that measures where there are two.
func pinLastCPU() {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return
	}
	for cpu := 1023; cpu >= 0; cpu-- {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return
	}
}
