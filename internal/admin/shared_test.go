// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestThoseWhoAskAtOnceShareAReading(t *testing.T) {
	var reads atomic.Int32
	begun, release := make(chan struct{}, 1), make(chan struct{})
	s := &Shared[int32]{Read: func() int32 {
		n := reads.Add(1)
		begun <- struct{}{}
		<-release
		return n
	}}
	// One that takes longer than somebody waits goes on for the next one.
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.Get(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want that it is cancelled", err)
		}
	})
	<-begun
	cancel()
	wg.Wait()
	for range 8 {
		wg.Go(func() {
			if n, err := s.Get(t.Context()); n != 1 || err != nil {
				t.Errorf("reading %d %v, want the first one", n, err)
			}
		})
	}
	close(release)
	wg.Wait()
}

// A result is kept for a time that grows with what it took, and not for ever.
func TestAReadingIsNotKeptForEver(t *testing.T) {
	var n int
	s := &Shared[int]{Read: func() int { n++; return n }}
	for range 1_000_000 {
		v, err := s.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if v == 2 {
			return
		}
	}
	t.Error("there is no second reading")
}
