// SPDX-License-Identifier: Apache-2.0

package events

/*
#include "bpf/workload.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// lease is km_reader: until when events are wanted.
type lease struct {
	*bpfmap.Lease
	mem []byte
}

func openLease(fd int) (*lease, error) {
	mem, err := bpfmap.Map(fd, int(unsafe.Sizeof(C.struct_kw_reader{})))
	if err != nil {
		return nil, fmt.Errorf("map km_reader: %w", err)
	}
	r := (*C.struct_kw_reader)(unsafe.Pointer(&mem[0]))
	return &lease{bpfmap.NewLease((*uint64)(unsafe.Pointer(&r.until))), mem}, nil
}

// close ends the lease and frees what it holds.
func (l *lease) close() error {
	l.End()
	if err := unix.Munmap(l.mem); err != nil {
		return fmt.Errorf("unmap km_reader: %w", err)
	}
	return nil
}
