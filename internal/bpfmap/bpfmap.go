// SPDX-License-Identifier: Apache-2.0

// Package bpfmap reads and writes BPF maps by descriptor. Keys and values are bytes
// in the kernel's own layout and host byte order. Errors are syscall.Errno: ENOENT
// where a key is not there, E2BIG where the map is full.
package bpfmap

/*
#include <linux/bpf.h>
#include <bpf/bpf.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func errno(rc C.int) error {
	if rc >= 0 {
		return nil
	}
	return syscall.Errno(-rc)
}

// Lookup reads the value of key into value.
func Lookup(fd int, key, value []byte) error {
	return errno(C.bpf_map_lookup_elem(C.int(fd), unsafe.Pointer(&key[0]), unsafe.Pointer(&value[0])))
}

// Update sets the value of key.
func Update(fd int, key, value []byte) error {
	return errno(C.bpf_map_update_elem(C.int(fd), unsafe.Pointer(&key[0]), unsafe.Pointer(&value[0]), C.BPF_ANY))
}

// Insert sets the value of a key that is not there; EEXIST where it is.
func Insert(fd int, key, value []byte) error {
	return errno(C.bpf_map_update_elem(C.int(fd), unsafe.Pointer(&key[0]), unsafe.Pointer(&value[0]), C.BPF_NOEXIST))
}

// Replace sets the value of a key that is there; ENOENT where it is not.
func Replace(fd int, key, value []byte) error {
	return errno(C.bpf_map_update_elem(C.int(fd), unsafe.Pointer(&key[0]), unsafe.Pointer(&value[0]), C.BPF_EXIST))
}

// MaxEntries returns how many entries a map has room for.
func MaxEntries(fd int) (int, error) {
	var info C.struct_bpf_map_info
	size := C.__u32(unsafe.Sizeof(info))
	err := errno(C.bpf_obj_get_info_by_fd(C.int(fd), unsafe.Pointer(&info), &size))
	return int(info.max_entries), err
}

// Delete removes key.
func Delete(fd int, key []byte) error {
	return errno(C.bpf_map_delete_elem(C.int(fd), unsafe.Pointer(&key[0])))
}

// NextKey reads the key after key into next, the first one where key is nil; ENOENT at
// the end.
func NextKey(fd int, key, next []byte) error {
	return errno(C.bpf_map_get_next_key(C.int(fd), unsafe.Pointer(unsafe.SliceData(key)), unsafe.Pointer(&next[0])))
}

// Bytes is the memory of a value, which may hold no pointers.
func Bytes[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// UpdateBatch sets n values of a HASH; keys and values lie one behind the other. On an
// error some may have been set.
func UpdateBatch(fd int, keys, values []byte, n int) error {
	if n == 0 {
		return nil
	}
	count := C.__u32(n)
	return errno(C.bpf_map_update_batch(C.int(fd), unsafe.Pointer(&keys[0]), unsafe.Pointer(&values[0]), &count, nil))
}

// DeleteBatch removes n keys of a HASH that lie one behind the other. All must be there.
func DeleteBatch(fd int, keys []byte, n int) error {
	if n == 0 {
		return nil
	}
	count := C.__u32(n)
	return errno(C.bpf_map_delete_batch(C.int(fd), unsafe.Pointer(&keys[0]), &count, nil))
}

// Each looks this many elements up at a time, first and at most.
const firstBatch, lookupBatch = 64, 4096

// Each calls do with every key and value of a HASH, in no order; they are valid only
// during the call. What others write meanwhile may be seen or not.
func Each(fd, keySize, valueSize int, do func(key, value []byte) error) error {
	n := firstBatch
	keys, values := make([]byte, n*keySize), make([]byte, n*valueSize)
	// The kernel's place in the map, 4 bytes of a HASH's bucket or a key.
	next := make([]byte, max(keySize, 8))
	var in unsafe.Pointer
	for {
		count := C.__u32(n)
		err := errno(C.bpf_map_lookup_batch(C.int(fd), in, unsafe.Pointer(&next[0]),
			unsafe.Pointer(&keys[0]), unsafe.Pointer(&values[0]), &count, nil))
		if errors.Is(err, unix.ENOSPC) { // one bucket holds more
			n *= 2
			keys, values = make([]byte, n*keySize), make([]byte, n*valueSize)
			continue
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		for i := range int(count) {
			if err := do(keys[i*keySize:(i+1)*keySize], values[i*valueSize:(i+1)*valueSize]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil // the end
		}
		in = unsafe.Pointer(&next[0])
		if n < lookupBatch {
			n *= 8
			keys, values = make([]byte, n*keySize), make([]byte, n*valueSize)
		}
	}
}

// Map maps the first size bytes of an mmapable ARRAY into memory, shared with the
// kernel. Unmap them with unix.Munmap.
func Map(fd, size int) ([]byte, error) {
	return unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// Grace returns when every program run that had begun before has ended: the kernel
// waits for that when an element of a map of maps changes, and the map that is made
// for it goes with the call. About 10 ms.
func Grace() (err error) {
	const step = "wait for readers: %w"
	inner, err := create(C.BPF_MAP_TYPE_ARRAY, 0)
	if err != nil {
		return fmt.Errorf(step, err)
	}
	defer func() { err = errors.Join(err, unix.Close(inner)) }()
	outer, err := create(C.BPF_MAP_TYPE_ARRAY_OF_MAPS, inner)
	if err != nil {
		return fmt.Errorf(step, err)
	}
	defer func() { err = errors.Join(err, unix.Close(outer)) }()
	key, value := make([]byte, 4), make([]byte, 4)
	*(*uint32)(unsafe.Pointer(&value[0])) = uint32(inner)
	if err := Update(outer, key, value); err != nil {
		return fmt.Errorf(step, err)
	}
	return nil
}

func create(typ C.enum_bpf_map_type, inner int) (int, error) {
	var o C.struct_bpf_map_create_opts
	o.sz = C.size_t(unsafe.Sizeof(o))
	o.inner_map_fd = C.__u32(inner)
	fd := C.bpf_map_create(typ, nil, 4, 4, 1, &o)
	return int(fd), errno(fd)
}
