// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"testing"
	"time"
)

func TestSoManyPassInEachSecond(t *testing.T) {
	l := Limiter{PerSecond: 2}
	begin := time.Unix(1000, 0)
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{
		{0, true}, {10 * time.Millisecond, true}, {20 * time.Millisecond, false}, {999 * time.Millisecond, false},
		{time.Second, true}, {1100 * time.Millisecond, true}, {1200 * time.Millisecond, false},
		{5 * time.Second, true},
		{time.Second, true}, // the clock was set back
	} {
		if got := l.Allow(begin.Add(c.after)); got != c.want {
			t.Errorf("after %v: %v", c.after, got)
		}
	}
	if n := l.Dropped(); n != 3 {
		t.Errorf("%d dropped", n)
	}
	if n := l.Dropped(); n != 0 {
		t.Errorf("%d dropped, told before", n)
	}
}

func TestWithoutALimitAllPass(t *testing.T) {
	var l Limiter
	for range 1000 {
		if !l.Allow(time.Time{}) {
			t.Fatal("one did not pass")
		}
	}
	if l.Dropped() != 0 {
		t.Error("some are counted as dropped")
	}
}
