// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// transfer is the content of one map on its way to another of another layout.
type transfer struct {
	name       string
	adds       bool
	from, to   int // descriptors; to is -1 until it is made
	have, want layout
	key, value *conversion
	cpus       int // values of an entry
	// then are the old map's values, by key, when they were copied.
	then    map[string][]byte
	dropped map[string]int // entries, by field that has no place any more
	changed int            // entries that follow found to be others
}

// transfer prepares to bring the content of a map that is there over to this build's
// layout; *cannotMove where that is not possible.
func (k *node) transfer(m mapRow, from int) (*transfer, error) {
	if err := k.needLayouts(); err != nil {
		return nil, err
	}
	have, err := k.kernel.of(from)
	if err != nil {
		return nil, err
	}
	return newTransfer(m, have, k.layouts[m.name], from)
}

func newTransfer(m mapRow, have, want layout, from int) (t *transfer, err error) {
	if have.Type != want.Type {
		return nil, cannot("it is of type %s, and of type %s in this build", mapTypeName(have.Type), mapTypeName(want.Type))
	}
	t = &transfer{name: m.name, adds: m.adds, from: from, to: -1, have: have, want: want, cpus: 1, dropped: map[string]int{}}
	if have.Type == mapTypePerCPUArray {
		if t.cpus, err = possibleCPUs(); err != nil {
			return nil, fmt.Errorf("count CPUs: %w", err)
		}
	}
	if t.key, err = newConversion("key", have.key, want.key, have.KeySize, want.KeySize, false); err != nil {
		return nil, err
	}
	if len(t.key.gone) > 0 { // entries that only it told apart would become one
		return nil, cannot("%s is not in this build", t.key.gone[0].path)
	}
	t.value, err = newConversion("value", have.value, want.value, have.ValueSize, want.ValueSize, m.adds)
	return t, err
}

// stride is what one value takes: that of a per-CPU map is rounded up for each CPU.
func (t *transfer) stride(size uint32) int {
	if t.have.Type == mapTypePerCPUArray {
		return int(size+7) &^ 7
	}
	return int(size)
}

// converted is an entry in the new layout.
type converted struct{ key, value []byte }

// read reads the old map, and returns what the new one is to hold. Entries of arrays that
// are zero are none.
func (t *transfer) read() ([]converted, error) {
	now, err := t.entries(t.from, t.have)
	if err != nil {
		return nil, err
	}
	if t.have.Type == mapTypeHash && len(now) > int(t.want.MaxEntries) {
		return nil, cannot("%d entries are in use, there is to be room for %d", len(now), t.want.MaxEntries)
	}
	clear(t.dropped)
	l := make([]converted, 0, len(now))
	for key, value := range now {
		c, err := t.convert(key, value, t.dropped)
		if err != nil {
			return nil, err
		}
		l = append(l, c)
	}
	t.then = now
	return l, nil
}

func (t *transfer) convert(key string, value []byte, dropped map[string]int) (c converted, err error) {
	if c.key, err = t.key.convert([]byte(key), nil); err != nil {
		return c, err
	}
	if t.have.Type != mapTypeHash {
		if i := binary.NativeEndian.Uint32(c.key); i >= t.want.MaxEntries {
			return c, cannot("entry %d is in use, this build has room for %d", i, t.want.MaxEntries)
		}
	}
	old, to := t.stride(t.have.ValueSize), t.stride(t.want.ValueSize)
	c.value = make([]byte, to*t.cpus)
	for i := range t.cpus {
		v, err := t.value.convert(value[i*old:][:t.have.ValueSize], dropped)
		if err != nil {
			return c, err
		}
		copy(c.value[i*to:], v)
	}
	return c, nil
}

// entries reads a map; those of an array that are zero are left out.
func (t *transfer) entries(fd int, l layout) (map[string][]byte, error) {
	all := map[string][]byte{}
	if l.Type == mapTypeHash {
		err := bpfmap.Each(fd, int(l.KeySize), int(l.ValueSize), func(key, value []byte) error {
			all[string(key)] = bytes.Clone(value)
			return nil
		})
		return all, err
	}
	b := make([]byte, t.stride(l.ValueSize)*t.cpus)
	key := make([]byte, 4)
	for i := range l.MaxEntries {
		if l.Type == mapTypeArrayOfMaps && i == l.MaxEntries-1 {
			break // the spare one
		}
		binary.NativeEndian.PutUint32(key, i)
		err := bpfmap.Lookup(fd, key, b)
		if l.Type == mapTypeArrayOfMaps && errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !zero(b) {
			all[string(key)] = bytes.Clone(b)
		}
	}
	return all, nil
}

// write puts what read returned into the new map, which is empty.
func (t *transfer) write(l []converted) error {
	if t.have.Type == mapTypeArrayOfMaps {
		return t.writeMaps(l)
	}
	for _, c := range l {
		put := bpfmap.Update
		if t.have.Type == mapTypeHash {
			put = bpfmap.Insert
		}
		if err := put(t.to, c.key, c.value); err != nil {
			return err
		}
	}
	return nil
}

// writeMaps puts the maps that an array of maps holds into the new one, all at once: the
// kernel waits for readers at each call.
func (t *transfer) writeMaps(l []converted) (err error) {
	var keys, fds []byte
	defer func() {
		for ; len(fds) > 0; fds = fds[4:] {
			err = errors.Join(err, unix.Close(int(binary.NativeEndian.Uint32(fds))))
		}
	}()
	for _, c := range l {
		fd, err := byID(mapDir, binary.NativeEndian.Uint32(c.value))
		if err != nil {
			return err
		}
		keys = append(keys, c.key...)
		fds = binary.NativeEndian.AppendUint32(fds, uint32(fd))
	}
	err = bpfmap.UpdateBatch(t.to, keys, fds, len(l))
	if err == nil || errors.Is(err, unix.EPERM) {
		return err
	}
	for i := range l { // before Linux 5.14 there is no batch for them
		if err := bpfmap.Update(t.to, keys[4*i:][:4], fds[4*i:][:4]); err != nil {
			return err
		}
	}
	return nil
}

// namespace reads an entry of a km_netns as this build has them.
func (t *transfer) namespace(cookie uint64) (n kmNetns, err error) {
	b := make([]byte, t.have.ValueSize)
	if err := mapLookupBytes(t.from, cookie, b); err != nil {
		return n, err
	}
	c, err := t.convert(string(bpfmap.Bytes(&cookie)), b, nil)
	if err == nil {
		copy(bpfmap.Bytes(&n), c.value)
	}
	return n, err
}

// back is the way from the new map to the old one, which holds what read has seen.
func (t *transfer) back() (*transfer, error) {
	b, err := newTransfer(mapRow{name: t.name, adds: t.adds}, t.want, t.have, t.to)
	if err != nil {
		return nil, err
	}
	b.to, b.then = t.from, map[string][]byte{}
	for key, value := range t.then {
		c, err := t.convert(key, value, nil)
		if err != nil {
			return nil, err
		}
		b.then[string(c.key)] = c.value
	}
	return b, nil
}
