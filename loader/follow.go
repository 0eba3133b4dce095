// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// follow brings over what was written to the old map since it was copied. Numbers that are
// raised are added; else an entry that the new map has otherwise by now stays its own.
func (t *transfer) follow() error {
	now, err := t.entries(t.from, t.have)
	if err != nil {
		return err
	}
	for key, value := range now {
		then, was := t.then[key]
		if was && bytes.Equal(then, value) {
			continue
		}
		t.changed++
		if t.adds {
			err = t.add(key, then, value)
		} else {
			err = t.set(key, then, value)
		}
		if err != nil {
			return err
		}
	}
	if t.adds {
		return nil
	}
	for key, then := range t.then {
		if _, is := now[key]; is {
			continue
		}
		t.changed++
		if err := t.unset(key, then); err != nil {
			return err
		}
	}
	return nil
}

// add raises the numbers of one entry by what they have grown. One that a program raises at
// the very moment may be lost.
func (t *transfer) add(key string, then, now []byte) error {
	if then == nil {
		then = make([]byte, len(now))
	}
	c, err := t.convert(key, then, nil)
	if err != nil {
		return err
	}
	have := make([]byte, len(c.value))
	if err := bpfmap.Lookup(t.to, c.key, have); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	old, to := t.stride(t.have.ValueSize), t.stride(t.want.ValueSize)
	for i := range t.cpus {
		t.value.sum(have[i*to:][:t.want.ValueSize], then[i*old:][:t.have.ValueSize], now[i*old:][:t.have.ValueSize])
	}
	return bpfmap.Update(t.to, c.key, have)
}

// set makes an entry of the new map what became of the old one's.
func (t *transfer) set(key string, then, now []byte) error {
	c, err := t.convert(key, now, nil)
	if err != nil {
		return err
	}
	if then == nil && t.have.Type == mapTypeHash {
		err := bpfmap.Insert(t.to, c.key, c.value)
		if errors.Is(err, unix.EEXIST) {
			return nil
		}
		return err
	}
	untouched, err := t.untouched(key, then)
	if err != nil || !untouched {
		return err
	}
	return bpfmap.Update(t.to, c.key, c.value)
}

// unset takes an entry out of the new map that went from the old one.
func (t *transfer) unset(key string, then []byte) error {
	untouched, err := t.untouched(key, then)
	if err != nil || !untouched {
		return err
	}
	c, err := t.convert(key, then, nil)
	if err != nil {
		return err
	}
	if t.have.Type != mapTypeHash {
		return bpfmap.Update(t.to, c.key, make([]byte, len(c.value)))
	}
	if err := bpfmap.Delete(t.to, c.key); !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// untouched says whether the new map still has what was copied.
func (t *transfer) untouched(key string, then []byte) (bool, error) {
	if then == nil {
		then = make([]byte, t.stride(t.have.ValueSize)*t.cpus)
	}
	c, err := t.convert(key, then, nil)
	if err != nil {
		return false, err
	}
	have := make([]byte, len(c.value))
	err = bpfmap.Lookup(t.to, c.key, have)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return bytes.Equal(have, c.value), err
}
