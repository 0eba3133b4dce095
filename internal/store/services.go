// SPDX-License-Identifier: Apache-2.0

package store

/*
#include <stdlib.h>
#include "bpf/abi.h"
#include "deserial.h"
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/served"
)

// Services returns what connects counted for each cluster, by name. No message is
// read: it costs a walk over the endpoints.
func (s *Store) Services() ([]served.Counters, error) {
	now, err := bpfmap.Now()
	if err != nil {
		return nil, err
	}
	var array *C.struct_deserial_service
	var n C.size_t
	if err := call(func() C.int { return C.deserial_services(C.uint64_t(now), &array, &n) }); err != nil {
		return nil, fmt.Errorf("read counters of clusters: %w", err)
	}
	defer C.free(unsafe.Pointer(array))
	l := make([]served.Counters, 0, int(n))
	for _, c := range unsafe.Slice(array, int(n)) {
		l = append(l, served.Counters{
			Service:  C.GoStringN(c.name, C.int(c.name_len)),
			Connects: uint64(c.ok), Latency: time.Duration(c.latency_ns),
			Refused: uint64(c.refused), Timeouts: uint64(c.timeouts), Errors: uint64(c.errors),
			Endpoints: int(c.endpoints), Ejected: int(c.ejected), Ejections: uint64(c.ejections),
		})
	}
	served.Sort(l)
	return l, nil
}

// ClusterName returns the name of the cluster that the programs know by its index. An
// error around ErrNotFound where none has it.
func (s *Store) ClusterName(index uint32) (string, error) {
	var name [C.KM_MAX_NAME + 1]C.char
	if err := call(func() C.int { return C.deserial_cluster_name(C.uint32_t(index), &name[0], C.size_t(len(name))) }); err != nil {
		return "", fmt.Errorf("read name of cluster: %w", err)
	}
	return C.GoString(&name[0]), nil
}
