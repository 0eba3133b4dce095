// SPDX-License-Identifier: Apache-2.0

// Package workload is the writer of workload mode: it takes resources of the workload
// API, keeps them in km_res, and derives from them what the data plane reads. The
// layout, and in which order it is written, is in bpf/workload.h.
package workload

import (
	"errors"
	"hash/maphash"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/fault"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// Options of Open.
type Options struct {
	// LockFile is locked for each publication; "" where nobody else writes.
	LockFile    string
	LockTimeout time.Duration
	// HostAddresses lists the node's own; nil leaves those that the maps name.
	HostAddresses func() ([]netip.Addr, error)
	Log           *logrus.Logger
}

// Store is the maps of workload mode. It is safe for several goroutines, and others may
// write the maps at the same time.
type Store struct {
	mu   sync.Mutex
	opts Options
	maps *kernelMaps

	// What follows is what the maps held at generation; nil: not read, or not
	// known any more.
	live   *live
	opened bool              // and nothing was done since
	later  bool              // see Later
	lost   bool              // see Lost
	names  map[uint32]string // of services, by number, as far as they were asked for

	// at is called at each step, too; tests end the writer there.
	at func(step string)
}

// Open reads what the maps hold. fd returns the descriptor of a map, which stays the
// caller's, or -1.
func Open(fd func(name string) int, o Options) (*Store, error) {
	m, err := openMaps(fd)
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, maps: m}
	if err := s.locked(s.load); err != nil {
		return nil, errors.Join(err, m.close())
	}
	s.opened = true
	return s, nil
}

// Close forgets what was read; the maps keep what they hold.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = nil
	return s.maps.close()
}

// locked calls do with the writers' lock.
func (s *Store) locked(do func() error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return do()
}

// current calls do when what was read is what the maps hold. Its error is an *exit.Error.
func (s *Store) current(do func(*live) error) error {
	err := s.locked(func() error {
		s.opened = false
		if err := s.gaveWay(); err != nil {
			return err
		}
		if s.live == nil || s.live.generation != s.maps.generation() || s.maps.writing() != 0 {
			before := s.live.names()
			if err := s.load(); err != nil {
				return err
			}
			s.lost = s.lost || !s.live.has(before)
		}
		return do(s.live)
	})
	var coded *exit.Error
	if err == nil || errors.As(err, &coded) {
		return err
	}
	return &exit.Error{Code: exit.NotReady, Step: "read maps", Object: "configuration", Err: err,
		Remedy: "what was there before stays; try again"}
}

// Lost says whether another writer removed a resource since it was last asked.
func (s *Store) Lost() (lost bool, err error) {
	err = s.current(func(*live) error {
		lost, s.lost = s.lost, false
		return nil
	})
	return lost, err
}

// names are digests of the names of all resources; l may be nil.
func (l *live) names() []uint64 {
	if l == nil {
		return nil
	}
	var sums []uint64
	for k, all := range l.model.res {
		for name := range all {
			sums = append(sums, maphash.Comparable(seed, named{k, name}))
		}
	}
	return sums
}

// has says whether all of them are there.
func (l *live) has(names []uint64) bool {
	there := make(map[uint64]struct{}, len(names))
	for _, sum := range l.names() {
		there[sum] = struct{}{}
	}
	for _, sum := range names {
		if _, ok := there[sum]; !ok {
			return false
		}
	}
	return true
}

// gaveWay is the error of maps that are no longer those in use.
func (s *Store) gaveWay() error {
	if atomic.LoadUint32((*uint32)(unsafe.Pointer(&s.maps.pstate.retired))) == 0 {
		return nil
	}
	return &exit.Error{Code: exit.NotUp, Step: "open maps", Object: "km_policy",
		Err: errors.New("another up made it anew"), Remedy: "run it again"}
}

// step is called before each step of a publication.
func (s *Store) step(name string) error {
	if s.at != nil {
		s.at(name)
	}
	return fault.At("publish " + name)
}

func (s *Store) warn(format string, args ...any) {
	if s.opts.Log != nil {
		s.opts.Log.Warnf(format, args...)
	}
}

// Resource returns kind and name of the resource that frontends, endpoints and
// events name by id; not ok: there is none.
func (s *Store) Resource(id uint32) (kind, name string, ok bool, err error) {
	err = s.current(func(l *live) error {
		if r := l.model.nums[id]; r != nil {
			kind, name, ok = r.kind.String(), r.name, true
		}
		return nil
	})
	return kind, name, ok && err == nil, err
}

// Names are those of all resources that a document of kind k may hold, in no order:
// workloads and services share a kind of document, and istiod names each by one name.
func (s *Store) Names(k xds.Kind) (names []string, err error) {
	err = s.current(func(l *live) error {
		for _, k := range kindsOf(k) {
			names = slices.AppendSeq(names, maps.Keys(l.model.res[k]))
		}
		return nil
	})
	return names, err
}
