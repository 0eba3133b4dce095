// SPDX-License-Identifier: Apache-2.0

// Package store is the C store (c/deserial.h) for Go: resources in the maps that
// the data plane reads, published batch by batch. There is one store in a process.
package store

/*
#include <stdlib.h>
#include "deserial.h"
#include "bpf/abi.h"
#include "step.h"
#include "cluster/cluster.pb-c.h"
#include "listener/listener.pb-c.h"
#include "route/route.pb-c.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/fault"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// Kind is a kind of resource.
type Kind = config.Kind

// The kinds of resources.
const (
	Listener = config.Listener
	Cluster  = config.Cluster
	Route    = config.Route
)

// Op is one change of a batch.
type Op = config.Op

// Store is the open store of this process. Its methods may be called from any
// goroutine.
type Store struct{}

// Open opens the store on the maps that this process's environment names
// (deserial_init). It is an error when it is open already. It waits for another
// process's publication, too: SetLockTimeout comes before it.
func Open() (*Store, error) {
	if fault.Wanted() {
		C.call_at_steps()
	}
	err := call(func() C.int { return C.deserial_init() })
	if errors.Is(err, ErrNoSpace) { // of the disk, or for descriptors: no limit of the store's
		err = errors.New(err.Error())
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &Store{}, nil
}

// Close closes the store. Without persist everything in it is deleted first, and
// an error of that is returned when the store has been closed all the same.
func (s *Store) Close(persist bool) error {
	if err := call(func() C.int { return C.deserial_uninit(C.bool(persist)) }); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// SetLockTimeout sets how long to wait for another process's publication. 5 s
// unless set; less than a millisecond: not at all.
func SetLockTimeout(d time.Duration) {
	C.deserial_set_lock_timeout(C.uint(max(d, 0).Milliseconds()))
}

// Limit is how many resources of a kind there may be; those that others name and that
// are not there count.
func Limit(k Kind) int {
	switch k {
	case Listener:
		return C.KM_MAX_LISTENERS - 1
	case Cluster:
		return C.KM_MAX_CLUSTERS - 1
	case Route:
		return C.KM_MAX_ROUTES - 1
	}
	return 0
}

// List restores every resource of a kind from the maps, sorted by key.
func (s *Store) List(k Kind) ([]proto.Message, error) {
	var l []proto.Message
	err := s.Walk(k, func(m proto.Message) error {
		l = append(l, m)
		return nil
	})
	if err != nil {
		return nil, err
	}
	sortByKey(l)
	return l, nil
}

// Walk calls do with each resource of a kind, in no order, as the maps had them at one
// moment. An error of do ends it.
func (s *Store) Walk(k Kind, do func(proto.Message) error) error {
	if descriptor(k) == nil {
		return fmt.Errorf("list: no kind %d", k)
	}
	var buf *C.uint8_t
	var n C.size_t
	err := call(func() C.int { return C.deserial_lookup_all_wire(descriptor(k), &buf, &n) })
	if err != nil {
		return fmt.Errorf("list %s: %w", k, err)
	}
	defer C.free(unsafe.Pointer(buf))

	for b := unsafe.Slice((*byte)(buf), n); len(b) > 0; {
		size := *(*uint32)(unsafe.Pointer(&b[0]))
		m, err := unmarshal(k, b[4:4+size])
		if err != nil {
			return err
		}
		if err := do(m); err != nil {
			return err
		}
		b = b[4+size:]
	}
	return nil
}

// Get restores one resource from the maps. Of key only what is its key counts.
// ErrNotFound when it is not there.
func (s *Store) Get(k Kind, key proto.Message) (proto.Message, error) {
	if config.KindOf(key) != k || descriptor(k) == nil {
		return nil, fmt.Errorf("get %s: %T is no key of one", k, key)
	}
	ckey, err := newKey(key)
	if err != nil {
		return nil, &InvalidError{fmt.Sprintf("%s: %v", k, err)}
	}
	defer ckey.free()

	var buf *C.uint8_t
	var n C.size_t
	err = call(func() C.int { return C.deserial_lookup_wire(ckey.pointer, descriptor(k), &buf, &n) })
	if err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	defer C.free(unsafe.Pointer(buf))
	return unmarshal(k, unsafe.Slice((*byte)(buf), n))
}

func unmarshal(k Kind, wire []byte) (proto.Message, error) {
	var m proto.Message
	switch k {
	case Listener:
		m = &listener.Listener{}
	case Cluster:
		m = &cluster.Cluster{}
	case Route:
		m = &route.RouteConfiguration{}
	}
	// Unmarshal copies strings and bytes: wire is C's memory.
	if err := (proto.UnmarshalOptions{}).Unmarshal(wire, m); err != nil {
		return nil, fmt.Errorf("restore %s: %w", k, err)
	}
	return m, nil
}

func descriptor(k Kind) *C.ProtobufCMessageDescriptor {
	switch k {
	case Listener:
		return &C.listener__listener__descriptor
	case Cluster:
		return &C.cluster__cluster__descriptor
	case Route:
		return &C.route__route_configuration__descriptor
	}
	return nil
}

// call runs one call of C and takes its message, which the C side keeps for each
// thread.
func call(f func() C.int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rc := f()
	if rc == 0 {
		return nil
	}
	err := newError(int(rc), C.GoString(C.deserial_error()))
	if op := int(C.deserial_error_op()); op >= 0 {
		return &OpError{op, err}
	}
	return err
}
