// SPDX-License-Identifier: Apache-2.0

package events

/*
#include "bpf/workload.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// lease is km_reader, until when events are wanted, held from openLease on.
type lease struct {
	mem     []byte
	release func() error // nil: ended
}

func openLease(fd int) (*lease, error) {
	mem, err := bpfmap.Map(fd, int(unsafe.Sizeof(C.struct_kw_reader{})))
	if err != nil {
		return nil, fmt.Errorf("map km_reader: %w", err)
	}
	r := (*C.struct_kw_reader)(unsafe.Pointer(&mem[0]))
	release, err := bpfmap.NewLease((*uint64)(unsafe.Pointer(&r.until))).Hold()
	if err != nil {
		return nil, errors.Join(err, unix.Munmap(mem))
	}
	return &lease{mem, release}, nil
}

// end has no more events told, unless somebody else wants them.
func (l *lease) end() error {
	if l.release == nil {
		return nil
	}
	release := l.release
	l.release = nil
	return release()
}

// close ends the lease and frees what it holds.
func (l *lease) close() error {
	err := l.end()
	if e := unix.Munmap(l.mem); e != nil {
		err = errors.Join(err, fmt.Errorf("unmap km_reader: %w", e))
	}
	return err
}
