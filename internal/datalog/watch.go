// SPDX-License-Identifier: Apache-2.0

// Package datalog is the log of the data plane: what its programs tell of single connects
// and packets while a level is set, and the switch of that and of counting by service.
package datalog

/*
#include "bpf/abi.h"
*/
import "C"

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// Level is up to where the data plane tells.
type Level uint64

// The levels. Error is what went wrong, Info each connection that was led elsewhere or
// denied, Debug also why a connection was left alone.
const (
	Off   Level = C.KM_LOG_OFF
	Error Level = C.KM_LOG_ERROR
	Info  Level = C.KM_LOG_INFO
	Debug Level = C.KM_LOG_DEBUG
)

var levels = []string{Off: "off", Error: "error", Info: "info", Debug: "debug"}

// Levels are the names of the levels, the least first.
func Levels() []string { return slices.Clone(levels) }

func (l Level) String() string {
	if int(l) < len(levels) {
		return levels[l]
	}
	return fmt.Sprintf("level %d", uint64(l))
}

// ParseLevel reads the name of a level.
func ParseLevel(s string) (Level, error) {
	if i := slices.Index(levels, s); i >= 0 {
		return Level(i), nil
	}
	return Off, fmt.Errorf("log level %q of the data plane: it is %s", s, strings.Join(levels, ", "))
}

// Watch is km_watch, which programs read. Its methods may be called from any goroutine, those
// of counting from one at a time.
type Watch struct {
	mem      []byte
	w        *C.struct_km_watch
	counting *bpfmap.Lease
}

// OpenWatch opens the map at fd, which may be closed after that.
func OpenWatch(fd int) (*Watch, error) {
	mem, err := bpfmap.Map(fd, int(unsafe.Sizeof(C.struct_km_watch{})))
	if err != nil {
		return nil, fmt.Errorf("map km_watch: %w", err)
	}
	w := (*C.struct_km_watch)(unsafe.Pointer(&mem[0]))
	return &Watch{mem: mem, w: w, counting: bpfmap.NewLease(word(&w.count_until))}, nil
}

// Close frees what the Watch holds; what was set stays.
func (w *Watch) Close() error {
	if err := unix.Munmap(w.mem); err != nil {
		return fmt.Errorf("unmap km_watch: %w", err)
	}
	return nil
}

func word(at *C.__u64) *uint64 { return (*uint64)(unsafe.Pointer(at)) }

// Level is the level that is set.
func (w *Watch) Level() Level { return Level(atomic.LoadUint64(word(&w.w.level))) }

// SetLevel is in force for the next connect, while there is a Reader.
func (w *Watch) SetLevel(l Level) { atomic.StoreUint64(word(&w.w.level), uint64(l)) }

// Lost counts the entries that found no room, ever.
func (w *Watch) Lost() uint64 { return atomic.LoadUint64(word(&w.w.lost)) }

// CountFor has workload mode count connects by service for d from now on, and longer where
// somebody else asked for that.
func (w *Watch) CountFor(d time.Duration) error { return w.counting.Extend(d) }

// CountNoMore takes back what CountFor did, unless somebody else has prolonged it.
func (w *Watch) CountNoMore() { w.counting.End() }
