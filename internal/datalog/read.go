// SPDX-License-Identifier: Apache-2.0

package datalog

import (
	"context"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/ring"
)

// look is how often a reader looks into the ring: programs wake nobody.
const look = 100 * time.Millisecond

// Reader reads km_log.
type Reader struct {
	ring    *ring.Ring
	watch   *Watch
	release func() error // of the level's lease
	lost    uint64
}

// NewReader reads the map at fd, which may be closed after that, from now on: what is in it is of
// an earlier reader's time. The level that is set holds until Close, and a few seconds on where
// the process is killed.
func NewReader(fd int, w *Watch) (*Reader, error) {
	r, err := ring.Open(fd, entrySize)
	if err != nil {
		return nil, err
	}
	if err := r.Drain(func([]byte) error { return nil }); err != nil {
		r.Close()
		return nil, err
	}
	release, err := bpfmap.NewLease(word(&w.w.level_until)).Hold()
	if err != nil {
		r.Close()
		return nil, err
	}
	return &Reader{ring: r, watch: w, release: release, lost: w.Lost()}, nil
}

// Close ends the level and frees what the Reader holds.
func (r *Reader) Close() error {
	r.ring.Close()
	return r.release()
}

// Follow calls do with what programs told since the last time, ten times a second and once
// more when ctx ends, which is no error. lost counts what found no room in between.
func (r *Reader) Follow(ctx context.Context, do func(entries []Entry, lost uint64)) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		var l []Entry
		if err := r.ring.Drain(func(b []byte) error { l = append(l, decode(b)); return nil }); err != nil {
			return err
		}
		lost := r.watch.Lost()
		do(l, lost-r.lost)
		r.lost = lost
		if ctx.Err() != nil {
			return nil
		}
	}
}
