// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// kernelMaps are those of the data plane that the writer reads and writes.
type kernelMaps struct {
	fd     map[string]int
	meta   *metaC   // mapped
	pstate *pstateC // mapped
	policy []byte   // mapped, both halves
	half   int      // bytes of one
	memory [][]byte // what is mapped
	room   map[string]int
	writes int // elements that were set or removed
}

// mapNames are the maps that the writer uses.
var mapNames = []string{"km_frontend", "km_block", "km_peer", "km_policy", "km_pstate", "km_denied", "km_served",
	"km_netns", "km_netns_slot", "km_node", "km_res", "km_wmeta"}

func openMaps(fd func(string) int) (_ *kernelMaps, err error) {
	m := &kernelMaps{fd: map[string]int{}, room: map[string]int{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	for _, name := range mapNames {
		if m.fd[name] = fd(name); m.fd[name] < 0 {
			return nil, fmt.Errorf("open map %s: it is not there", name)
		}
		if m.room[name], err = bpfmap.MaxEntries(m.fd[name]); err != nil {
			return nil, fmt.Errorf("read size of %s: %w", name, err)
		}
	}
	b, err := m.mmap("km_wmeta", size[metaC]())
	if err != nil {
		return nil, err
	}
	m.meta = (*metaC)(unsafe.Pointer(&b[0]))
	if b, err = m.mmap("km_pstate", size[pstateC]()); err != nil {
		return nil, err
	}
	m.pstate = (*pstateC)(unsafe.Pointer(&b[0]))
	slots := m.room["km_policy"]
	if m.policy, err = m.mmap("km_policy", slots*slotBytes); err != nil {
		return nil, err
	}
	m.half = slots / 2 * slotBytes
	if shift := int(m.pstate.half_shift); shift != 0 && shift != bits.TrailingZeros(uint(slots/2)) {
		return nil, fmt.Errorf("read km_pstate: half_shift %d does not fit km_policy of %d slots; run up again", shift, slots)
	}
	return m, nil
}

func (m *kernelMaps) mmap(name string, size int) ([]byte, error) {
	b, err := bpfmap.Map(m.fd[name], size)
	if err != nil {
		return nil, fmt.Errorf("map %s into memory: %w", name, err)
	}
	m.memory = append(m.memory, b)
	return b, nil
}

func (m *kernelMaps) close() error {
	var err error
	for _, b := range m.memory {
		err = errors.Join(err, unix.Munmap(b))
	}
	m.memory = nil
	return err
}

// word is a word of mapped memory that others read while it is written.
func word(p *u64) *uint64 { return (*uint64)(unsafe.Pointer(p)) }

func (m *kernelMaps) generation() uint64 { return atomic.LoadUint64(word(&m.meta.generation)) }
func (m *kernelMaps) writing() uint64    { return atomic.LoadUint64(word(&m.meta.writing)) }

// leaving says that something was given up that a program run may still be using.
func (m *kernelMaps) leaving() bool { return atomic.LoadUint64(word(&m.meta.leaving)) != 0 }

func (m *kernelMaps) setLeaving(is bool) {
	var n uint64
	if is {
		n = 1
	}
	atomic.StoreUint64(word(&m.meta.leaving), n)
}

// image is the half of km_policy that programs do or do not use.
func (m *kernelMaps) image(used bool) []byte {
	h := int(atomic.LoadUint64(word(&m.pstate.word)) & 1)
	if !used {
		h = 1 - h
	}
	return m.policy[h*m.half:][:m.half]
}

// judgeAnew raises the generation of verdicts; with flip the other image is used.
func (m *kernelMaps) judgeAnew(flip bool) {
	p := word(&m.pstate.word)
	w := atomic.LoadUint64(p) + 2
	if flip {
		w ^= 1
	}
	atomic.StoreUint64(p, w)
}

func (m *kernelMaps) settings() (nodeSettings, error) {
	var n nodeC
	var zero [4]byte
	if err := bpfmap.Lookup(m.fd["km_node"], zero[:], raw(&n)); err != nil {
		return nodeSettings{}, fmt.Errorf("read km_node: %w", err)
	}
	return decodeSettings(&n), nil
}

// each calls do for the keys and values of a HASH.
func each[K, V any](m *kernelMaps, name string, do func(K, *V) error) error {
	err := bpfmap.Each(m.fd[name], size[K](), size[V](), func(key, value []byte) error {
		v := as[V](value)
		return do(as[K](key), &v)
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// put sets keys of a HASH.
func put[K, V any](m *kernelMaps, name string, keys []K, values []V) error {
	return m.putRaw(name, rawAll(keys), rawAll(values), len(keys))
}

func (m *kernelMaps) putRaw(name string, keys, values []byte, n int) error {
	if err := bpfmap.UpdateBatch(m.fd[name], keys, values, n); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	m.writes += n
	return nil
}

// remove takes keys out of a HASH, those that are there.
func remove[K any](m *kernelMaps, name string, keys []K) error {
	err := bpfmap.DeleteBatch(m.fd[name], rawAll(keys), len(keys))
	if errors.Is(err, unix.ENOENT) {
		err = nil
		for i := range keys {
			if e := bpfmap.Delete(m.fd[name], raw(&keys[i])); e != nil && !errors.Is(e, unix.ENOENT) {
				err = e
			}
		}
	}
	if err != nil {
		return fmt.Errorf("delete from %s: %w", name, err)
	}
	m.writes += len(keys)
	return nil
}

// enrolment is an entry of km_netns.
type enrolment struct {
	cookie uint64
	value  netnsC
	addrs  []netip.Addr
}

func (m *kernelMaps) enrolments() ([]enrolment, error) {
	var list []enrolment
	err := each(m, "km_netns", func(cookie uint64, v *netnsC) error {
		e := enrolment{cookie: cookie, value: *v}
		for i := range min(int(v.n), netnsAddrs) {
			e.addrs = append(e.addrs, unmapped(raw(&v.ip[i])))
		}
		list = append(list, e)
		return nil
	})
	return list, err
}
