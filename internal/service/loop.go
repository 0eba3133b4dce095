// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// Loop is the life of a process that stays, from when it is ready to when it is told
// to stop. All that it calls is called by one goroutine.
type Loop struct {
	Notify *Notifier
	// Interval is the time between the end of a turn and the next one.
	Interval time.Duration
	// Turn does what is due each time. The service manager hears that this process
	// is alive when it returns, whatever it found: what a turn cannot repair, a
	// restart, which goes the same way, cannot either. One that hangs is not alive.
	Turn func(context.Context)
	// Reload reads the configuration again.
	Reload func(context.Context)
	// Changed asks for a Reload; nil: never.
	Changed <-chan struct{}
	// News asks for the status to be told, which has changed; nil: never.
	News <-chan struct{}
	// Status says in a line how things are.
	Status func() string

	hangups chan os.Signal
}

// Listen has SIGHUP mean a reload from now on: one that comes before Run waits for it.
func (l *Loop) Listen() {
	l.hangups = make(chan os.Signal, 1)
	signal.Notify(l.hangups, unix.SIGHUP)
}

// Run says that the process is ready, and returns once ctx is done.
func (l *Loop) Run(ctx context.Context) {
	l.Notify.Ready(l.Status())
	l.Notify.Alive()
	reload, stop := l.hear()
	defer stop()
	next := time.NewTimer(l.Interval)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			l.Notify.Stopping()
			return
		case <-reload:
			l.Reload(ctx)
			l.Turn(ctx)
			if len(reload) == 0 { // else another reload has begun
				l.Notify.Ready(l.Status())
			}
		case <-l.Changed:
			l.Reload(ctx)
			l.Notify.Status(l.Status())
			continue
		case <-l.News:
			l.Notify.Status(l.Status())
			continue
		case <-next.C:
			l.Turn(ctx)
			l.Notify.Status(l.Status())
		}
		l.Notify.Alive()
		next.Reset(l.Interval)
	}
}

// hear says that a reload has begun as soon as the signal comes, whatever Run is
// about: `systemctl reload` waits for the end of what it knows has begun.
func (l *Loop) hear() (reload <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range l.hangups {
			l.Notify.Reloading()
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}()
	return c, func() {
		signal.Stop(l.hangups)
		close(l.hangups)
		<-done
	}
}
