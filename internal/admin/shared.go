// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"sync"
	"time"
)

const (
	// spare is how many times as long as a reading took it is kept: however many ask,
	// reading takes a tenth of one CPU at most.
	spare    = 9
	keptMost = time.Second
)

// Shared has those who ask at the same time take one reading. One that takes longer than
// somebody waits goes on, for the next one.
type Shared[T any] struct {
	Read func() T

	mu   sync.Mutex
	last *reading[T]
}

type reading[T any] struct {
	done  chan struct{}
	until time.Time // it is kept
	value T
}

// Get returns a reading; the error is that of ctx.
func (s *Shared[T]) Get(ctx context.Context) (T, error) {
	r := s.current()
	select {
	case <-r.done:
		return r.value, nil
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (s *Shared[T]) current() *reading[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil {
		select {
		case <-s.last.done:
			if time.Now().Before(s.last.until) {
				return s.last
			}
		default:
			return s.last
		}
	}
	r := &reading[T]{done: make(chan struct{})}
	s.last = r
	go func() {
		defer close(r.done)
		start := time.Now()
		r.value = s.Read()
		end := time.Now()
		r.until = end.Add(min(spare*end.Sub(start), keptMost))
	}()
	return r
}
