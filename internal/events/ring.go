// SPDX-License-Identifier: Apache-2.0

package events

/*
#include <stdlib.h>
#include <string.h>
#include <bpf/libbpf.h>
#include "bpf/workload.h"

#define BATCH 256

struct batch {
	size_t n;
	size_t odd; // records of another size
	struct kw_event at[BATCH];
};

static int keep(void *ctx, void *data, size_t len)
{
	struct batch *b = ctx;

	if (len < sizeof(b->at[0]) || b->n == BATCH) {
		b->odd++;
		return 0;
	}
	memcpy(&b->at[b->n++], data, sizeof(b->at[0]));
	return 0;
}

static struct ring_buffer *ring_open(int fd, struct batch *b)
{
	return ring_buffer__new(fd, keep, b, NULL);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is km_event, of which each event goes to one reader.
type ring struct {
	rb    *C.struct_ring_buffer
	batch *C.struct_batch
}

func openRing(fd int) (*ring, error) {
	// In C's memory: libbpf keeps the pointer.
	b := (*C.struct_batch)(C.calloc(1, C.sizeof_struct_batch))
	rb, err := C.ring_open(C.int(fd), b)
	if rb == nil {
		C.free(unsafe.Pointer(b))
		return nil, fmt.Errorf("open ring of events: %w", err)
	}
	return &ring{rb, b}, nil
}

func (r *ring) close() {
	C.ring_buffer__free(r.rb)
	C.free(unsafe.Pointer(r.batch))
}

// wait returns when there is something to read, or after d.
func (r *ring) wait(d time.Duration) error {
	fds := []unix.PollFd{{Fd: int32(C.ring_buffer__epoll_fd(r.rb)), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, int(d.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for events: %w", err)
	}
	return nil
}

// read calls do with what is there, up to a batch, and returns how many that were.
func (r *ring) read(do func(Event) error) (int, error) {
	r.batch.n, r.batch.odd = 0, 0
	if rc := C.ring_buffer__consume_n(r.rb, C.BATCH); rc < 0 {
		return 0, fmt.Errorf("read events: %w", syscall.Errno(-rc))
	}
	if r.batch.odd > 0 {
		return 0, errors.New("read events: one is shorter than this build's: run up with this build")
	}
	for i := range int(r.batch.n) {
		e, err := decode(unsafe.Slice((*byte)(unsafe.Pointer(&r.batch.at[i])), eventSize))
		if err == nil {
			err = do(e)
		}
		if err != nil {
			return i, err
		}
	}
	return int(r.batch.n), nil
}

// drain reads until nothing is there.
func (r *ring) drain(do func(Event) error) error {
	for n := 1; n > 0; {
		var err error
		if n, err = r.read(do); err != nil {
			return err
		}
	}
	return nil
}
