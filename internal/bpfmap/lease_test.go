// SPDX-License-Identifier: Apache-2.0

package bpfmap

import (
	"sync/atomic"
	"testing"
	"time"
)

// newLease is a lease, the word that it is of, and how long that lasts from now on.
func newLease(t *testing.T) (l *Lease, word *uint64, left func() time.Duration) {
	t.Helper()
	word = new(uint64)
	return NewLease(word), word, func() time.Duration {
		now, err := Now()
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(atomic.LoadUint64(word)) - now
	}
}

func (l *Lease) mustExtend(t *testing.T, d time.Duration) {
	t.Helper()
	if err := l.Extend(d); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsHeldLastsAFewSecondsAndIsRenewed(t *testing.T) {
	l, word, left := newLease(t)
	for range 2 {
		release, err := l.Hold()
		if err != nil || left() < 2*time.Second || left() > leaseFor {
			t.Fatal(err, left())
		}
		was := atomic.LoadUint64(word)
		for until := time.Now().Add(20 * time.Second); atomic.LoadUint64(word) == was; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("it is not renewed")
			}
		}
		if left() < 2*time.Second {
			t.Errorf("renewed for %v", left())
		}
		if err := release(); err != nil || *word != 0 {
			t.Errorf("the lease outlives its end: %d, %v", *word, err)
		}
	}
}

func TestALeaseLastsAsLongAsAnybodyHoldsIt(t *testing.T) {
	l, word, left := newLease(t)
	l.mustExtend(t, time.Hour)
	*word = 1 << 62 // another one has prolonged it
	if l.End(); *word != 1<<62 {
		t.Errorf("another one's time was ended: %d", *word)
	}
	if l.mustExtend(t, time.Hour); *word != 1<<62 {
		t.Errorf("another one's time was cut to %d", *word)
	}
	*word = 0
	other := NewLease(word)
	other.mustExtend(t, time.Minute)
	others := *word
	l.mustExtend(t, time.Hour)
	if l.mustExtend(t, 2*time.Hour); left() < time.Hour {
		t.Errorf("%v are left of two hours", left())
	}
	if l.End(); *word != others {
		t.Errorf("until %d, another one's %d", *word, others)
	}
}

// Who was killed leaves a time behind, and programs read the clock for it until it is 0.
func TestATimeThatIsOverDoesNotComeBack(t *testing.T) {
	l, word, _ := newLease(t)
	*word = 1
	l.mustExtend(t, time.Hour)
	if l.End(); *word != 0 {
		t.Errorf("until %d", *word)
	}
}
