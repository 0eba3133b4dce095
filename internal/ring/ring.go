// SPDX-License-Identifier: Apache-2.0

// Package ring reads a RINGBUF map of records of one size. Each record goes to one
// reader only.
package ring

/*
#include <stdlib.h>
#include <string.h>
#include <bpf/libbpf.h>

#define BATCH 256

struct batch {
	size_t size; // of a record
	size_t n;
	size_t odd; // records that are shorter
	unsigned char *at;
};

static int keep(void *ctx, void *data, size_t len)
{
	struct batch *b = ctx;

	if (len < b->size || b->n == BATCH) {
		b->odd++;
		return 0;
	}
	memcpy(b->at + b->n++ * b->size, data, b->size);
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

// Ring is an open map. It is for one goroutine.
type Ring struct {
	rb    *C.struct_ring_buffer
	batch *C.struct_batch
}

// Open reads from the map at fd, which may be closed before the Ring is: only Wait needs
// it. size is what a record has at the least.
func Open(fd, size int) (*Ring, error) {
	// In C's memory: libbpf keeps the pointer.
	b := (*C.struct_batch)(C.calloc(1, C.sizeof_struct_batch))
	b.size, b.at = C.size_t(size), (*C.uchar)(C.calloc(C.BATCH, C.size_t(size)))
	rb, err := C.ring_open(C.int(fd), b)
	if rb == nil {
		free(b)
		return nil, fmt.Errorf("open ring: %w", err)
	}
	return &Ring{rb, b}, nil
}

func free(b *C.struct_batch) {
	C.free(unsafe.Pointer(b.at))
	C.free(unsafe.Pointer(b))
}

// Close frees what the Ring holds.
func (r *Ring) Close() {
	C.ring_buffer__free(r.rb)
	free(r.batch)
}

// Wait returns when a program woke the reader, or after d.
func (r *Ring) Wait(d time.Duration) error {
	fds := []unix.PollFd{{Fd: int32(C.ring_buffer__epoll_fd(r.rb)), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, int(d.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for the ring: %w", err)
	}
	return nil
}

// Read calls do with what is there, up to a batch, and returns how many that were. A
// record is valid only during the call.
func (r *Ring) Read(do func([]byte) error) (int, error) {
	r.batch.n, r.batch.odd = 0, 0
	if rc := C.ring_buffer__consume_n(r.rb, C.BATCH); rc < 0 {
		return 0, fmt.Errorf("read ring: %w", syscall.Errno(-rc))
	}
	if r.batch.odd > 0 {
		return 0, errors.New("read ring: a record is shorter than this build's: run up with this build")
	}
	size := int(r.batch.size)
	all := unsafe.Slice((*byte)(unsafe.Pointer(r.batch.at)), int(r.batch.n)*size)
	for i := range int(r.batch.n) {
		if err := do(all[i*size : (i+1)*size]); err != nil {
			return i, err
		}
	}
	return int(r.batch.n), nil
}

// Drain reads until nothing is there.
func (r *Ring) Drain(do func([]byte) error) error {
	for n := 1; n > 0; {
		var err error
		if n, err = r.Read(do); err != nil {
			return err
		}
	}
	return nil
}
