// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// A reader that hangs holds nobody up; what it missed is counted and told.
func TestOutboxOfAReaderThatHangs(t *testing.T) {
	var mu sync.Mutex
	var got []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, s)
	}
	o := newOutbox(2, func(n uint64) { note(fmt.Sprintf("%d dropped", n)) })
	hangs, entered := make(chan struct{}), make(chan struct{})
	o.put(func() { close(entered); <-hangs; note("0") })
	<-entered
	for i := range 5 {
		o.put(func() { note(fmt.Sprint(i + 1)) })
	}
	o.flush(time.Millisecond) // gives up
	close(hangs)
	o.flush(time.Minute)
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"0", "1", "2", "3 dropped"}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestOutboxThatNothingWasPutIntoIsFlushedAtOnce(t *testing.T) {
	newOutbox(1, nil).flush(time.Hour)
}

// Lines keep their order, and what they are written from may be used again.
func TestOutboxWriter(t *testing.T) {
	var b bytes.Buffer
	o := newOutbox(8, nil)
	w := o.writer(&b)
	line := []byte("a\n")
	for range 3 {
		if n, err := w.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		line[0]++
	}
	o.flush(time.Minute)
	if b.String() != "a\nb\nc\n" {
		t.Errorf("wrote %q", b.String())
	}
}
