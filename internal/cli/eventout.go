// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// eventOut is where events go, mostly a pipe. Who reads it may take none for a while, and
// the command ends all the same when it is to.
type eventOut struct {
	w     io.Writer
	ended func() bool
}

func newEventOut(ctx context.Context, w io.Writer) *eventOut {
	return &eventOut{w, func() bool { return ctx.Err() != nil }}
}

// endSeen is how soon the end of the command is seen while nobody takes events.
const endSeen = 100 * time.Millisecond

var errNotTaken = errors.New("nobody reads what is printed, and the command is to end: the events that are left are lost")

// Write waits until b finds room, but not for long when the command is to end. What has room
// for anything has room for a line: a pipe for a page, at the least.
func (o *eventOut) Write(b []byte) (int, error) {
	for {
		ended, wait := o.ended(), endSeen
		if ended {
			wait = outboxPatience
		}
		got, err := o.poll(unix.POLLOUT, wait)
		switch {
		case err != nil:
			return 0, err
		case got != 0:
			return o.w.Write(b)
		case ended:
			return 0, errNotTaken
		}
	}
}

// orphaned ends the command, as a write does, where nobody can read any more: there may be no
// event for long, and nobody else gets any meanwhile.
func (o *eventOut) orphaned() error {
	got, err := o.poll(0, 0)
	if err == nil && got&(unix.POLLERR|unix.POLLHUP) != 0 {
		_, err = o.w.Write([]byte("\n"))
	}
	return err
}

// poll returns which of the events that are asked for, or of errors, came within d. What is
// no file is always ready.
func (o *eventOut) poll(want int16, d time.Duration) (int16, error) {
	f, is := o.w.(*os.File)
	if !is {
		return want, nil
	}
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: want}}
	for {
		_, err := unix.Poll(fds, int(d.Milliseconds()))
		if err == nil {
			return fds[0].Revents, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("poll %s: %w", f.Name(), err)
		}
	}
}
