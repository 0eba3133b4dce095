// SPDX-License-Identifier: Apache-2.0

// Package ratelimit lets through so many a second, and counts what it does not.
package ratelimit

import "time"

// Limiter lets PerSecond through in each second from the first on; 0: all. The zero
// Limiter is ready for use, by one goroutine.
type Limiter struct {
	PerSecond int

	began   time.Time // of the second that is under way
	passed  int
	dropped uint64
}

// Allow says whether one more passes now.
func (l *Limiter) Allow(now time.Time) bool {
	if l.PerSecond <= 0 {
		return true
	}
	if now.Sub(l.began) >= time.Second || now.Before(l.began) {
		l.began, l.passed = now, 0
	}
	if l.passed >= l.PerSecond {
		l.dropped++
		return false
	}
	l.passed++
	return true
}

// Dropped is how many did not pass since it was last asked.
func (l *Limiter) Dropped() uint64 {
	n := l.dropped
	l.dropped = 0
	return n
}
