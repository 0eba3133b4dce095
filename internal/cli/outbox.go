// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

const (
	// outboxRoom is how many messages wait for a reader that takes none.
	outboxRoom = 1024
	// outboxPatience is how long the end of the process waits for that reader.
	outboxPatience = time.Second
)

// outbox sends messages in their order and never makes the caller wait: journald may
// hang, and what watches over the data plane must not hang with it. What finds no room
// is dropped and counted, and told of once the reader has caught up.
type outbox struct {
	tell    func(dropped uint64)
	queue   chan func()
	started atomic.Bool
	dropped atomic.Uint64
}

func newOutbox(room int, tell func(dropped uint64)) *outbox {
	return &outbox{tell: tell, queue: make(chan func(), room)}
}

// put has send called, which may block.
func (o *outbox) put(send func()) {
	if !o.started.Swap(true) {
		go o.run()
	}
	select {
	case o.queue <- send:
	default:
		o.dropped.Add(1)
	}
}

func (o *outbox) run() {
	for send := range o.queue {
		send()
		if len(o.queue) == 0 {
			o.account()
		}
	}
}

func (o *outbox) account() {
	if n := o.dropped.Swap(0); n > 0 {
		o.tell(n)
	}
}

// flush waits until all that was put is sent, but no longer than patience.
func (o *outbox) flush(patience time.Duration) {
	if !o.started.Load() {
		return
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	done := make(chan struct{})
	last := func() {
		o.account()
		close(done)
	}
	select {
	case o.queue <- last:
	case <-late.C:
		return
	}
	select {
	case <-done:
	case <-late.C:
	}
}

// writer gives what is written to w by way of the outbox.
func (o *outbox) writer(w io.Writer) io.Writer { return outboxWriter{o, w} }

type outboxWriter struct {
	outbox *outbox
	w      io.Writer
}

func (b outboxWriter) Write(p []byte) (int, error) {
	line := string(p)
	b.outbox.put(func() {
		// Nobody is left to be told that standard error takes nothing.
		fmt.Fprint(b.w, line)
	})
	return len(p), nil
}
