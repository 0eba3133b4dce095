// SPDX-License-Identifier: Apache-2.0

package store

/*
#include <stdlib.h>
#include "deserial.h"
#include "step.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// Version says which maps the store is on, and what was published into them. The zero
// Version is none that a store has.
type Version struct {
	Maps       uint32 // id of the map that holds the generation
	Generation uint64
}

// Version returns the version now. What is read after it may be newer.
func (s *Store) Version() (Version, error) {
	var v C.struct_deserial_version
	if err := call(func() C.int { return C.deserial_version(&v) }); err != nil {
		return Version{}, fmt.Errorf("read version of the store: %w", err)
	}
	return Version{uint32(v.maps), uint64(v.generation)}, nil
}

// Publish publishes all of ops or nothing. The last one of several for one key
// wins; deleting what is not there, or putting what is there already, changes
// nothing. Errors: ErrNoSpace, ErrLocked, *InvalidError; in an *OpError where it is about
// one operation.
func (s *Store) Publish(ops []Op) error {
	return publishAt(ops, nil)
}

// PublishAt is Publish of ops that were made from what was there at a version, and
// returns the version afterwards. ErrMoved: another writer came in between.
func (s *Store) PublishAt(ops []Op, at Version) (Version, error) {
	v := C.struct_deserial_version{maps: C.uint32_t(at.Maps), generation: C.uint64_t(at.Generation)}
	if err := publishAt(ops, &v); err != nil {
		return Version{}, err
	}
	return Version{uint32(v.maps), uint64(v.generation)}, nil
}

// tries is how often Update begins anew.
const tries = 50

// Update publishes the ops that plan makes from what is there. Where another writer
// published meanwhile, plan is called once more. Errors: as Publish, and ErrMoved
// where others never ceased to publish.
func (s *Store) Update(plan func() ([]Op, error)) error {
	for try := 1; ; try++ {
		at, err := s.Version()
		if err != nil {
			return err
		}
		ops, err := plan()
		if err != nil {
			return err
		}
		if _, err = s.PublishAt(ops, at); try == tries || !errors.Is(err, ErrMoved) {
			return err
		}
	}
}

// batch is ops in C's memory: what is passed to C must not point to Go's.
type batch struct {
	ops  *C.struct_deserial_op
	wire unsafe.Pointer
}

func (b batch) free() {
	C.free(unsafe.Pointer(b.ops))
	C.free(b.wire)
}

func newBatch(ops []Op) (batch, error) {
	size := 0
	messages := make([]proto.Message, len(ops))
	for i, op := range ops {
		m, err := message(op)
		if err != nil {
			return batch{}, err
		}
		messages[i] = m
		size += proto.Size(m)
	}
	b := batch{
		ops:  (*C.struct_deserial_op)(C.calloc(C.size_t(len(ops)), C.sizeof_struct_deserial_op)),
		wire: C.malloc(C.size_t(size + 1)),
	}
	// In one and the same form each time, so that the store sees when nothing changed.
	form := proto.MarshalOptions{Deterministic: true, UseCachedSize: true}
	wire := unsafe.Slice((*byte)(b.wire), size)[:0:size]
	for i, m := range messages {
		start := len(wire)
		var err error
		if wire, err = form.MarshalAppend(wire, m); err != nil {
			b.free()
			return batch{}, fmt.Errorf("%s %s: marshal: %w", config.KindOf(m), config.KeyOf(m), err)
		}
		if len(wire) > size {
			b.free()
			return batch{}, fmt.Errorf("%s %s: changed while it was marshalled", config.KindOf(m), config.KeyOf(m))
		}
		c := &unsafe.Slice(b.ops, len(ops))[i]
		c.op = C.DESERIAL_UPDATE
		if ops[i].Delete {
			c.op = C.DESERIAL_DELETE
		}
		c.descriptor = descriptor(config.KindOf(m))
		c.wire = (*C.uint8_t)(unsafe.Add(b.wire, start))
		c.wire_len = C.size_t(len(wire) - start)
	}
	return b, nil
}

func publishAt(ops []Op, at *C.struct_deserial_version) error {
	if len(ops) == 0 {
		return nil
	}
	b, err := newBatch(ops)
	if err != nil {
		return &InvalidError{err.Error()}
	}
	defer b.free()
	err = call(func() C.int { return C.deserial_update_batch_at(b.ops, C.size_t(len(ops)), at) })
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// message returns what op hands to C.
func message(op Op) (proto.Message, error) {
	switch {
	case config.KindOf(op.Message) == 0:
		return nil, fmt.Errorf("a Listener, Cluster or RouteConfiguration is stored, not %T", op.Message)
	case op.Delete:
		return keyMessage(op.Message), nil
	}
	return op.Message, nil
}

// keyMessage returns a message with m's key and nothing else.
func keyMessage(m proto.Message) proto.Message {
	switch m := m.(type) {
	case *listener.Listener:
		return &listener.Listener{Address: m.GetAddress()}
	case *cluster.Cluster:
		return &cluster.Cluster{Name: m.GetName()}
	case *route.RouteConfiguration:
		return &route.RouteConfiguration{Name: m.GetName()}
	}
	return m
}
