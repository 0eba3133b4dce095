// SPDX-License-Identifier: Apache-2.0

package top

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// Live shows reports on a terminal until ctx ends, q is pressed, or its terminal goes.
type Live struct {
	In, Out  *os.File
	Interval time.Duration
	View     View // size and color are found out
	Limit    int  // rows at most; 0: what fits
	Read     func() (*Sample, error)
}

// key is one that was pressed.
type key int

const (
	keyQuit key = iota
	keyUp
	keyDown
	keyPageUp
	keyPageDown
	keySort
)

type press struct {
	key   key
	order Order
}

// Run ends with the terminal as it was, whatever happens.
func (l *Live) Run(ctx context.Context) (err error) {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGHUP, unix.SIGQUIT)
	defer stop()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGWINCH, unix.SIGTSTP, unix.SIGCONT)
	defer signal.Stop(signals)

	before, err := l.Read()
	if err != nil {
		return err
	}
	t := newTerminal(l.In, l.Out)
	if err := t.enter(); err != nil {
		return errors.Join(err, t.leave())
	}
	defer func() { err = errors.Join(err, t.leave()) }()
	presses := make(chan press)
	if t.before != nil {
		go readKeys(l.In, presses, ctx.Done())
	}

	l.View.Color = t.moves && os.Getenv("NO_COLOR") == ""
	report := Compare(before, before)
	tick := time.NewTicker(l.Interval)
	defer tick.Stop()
	for {
		if err := l.draw(t, report); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case s := <-signals:
			if s == unix.SIGTSTP {
				if err := pause(t); err != nil {
					return err
				}
			}
		case p := <-presses:
			if p.key == keyQuit {
				return nil
			}
			l.pressed(p)
		case <-tick.C:
			now, err := l.Read()
			if err != nil {
				return err
			}
			report, before = Compare(before, now), now
		}
	}
}

func (l *Live) draw(t *terminal, r *Report) error {
	l.View.Width, l.View.Height = t.size()
	if l.Limit > 0 {
		l.View.Height = min(l.View.Height, l.Limit+otherLines)
	}
	r.Sort(l.View.Order)
	return t.show(l.View.Lines(r))
}

func (l *Live) pressed(p press) {
	switch p.key {
	case keySort:
		l.View.Order, l.View.Top = p.order, 0
	case keyUp:
		l.View.Top--
	case keyDown:
		l.View.Top++
	case keyPageUp:
		l.View.Top -= l.View.Rows()
	case keyPageDown:
		l.View.Top += l.View.Rows()
	case keyQuit:
	}
	l.View.Top = max(l.View.Top, 0)
}

// stopsWithin is how soon a process that is sent SIGSTOP has stopped. The first one of a PID
// namespace never does.
const stopsWithin = time.Second

// pause stops this process as the terminal's user asked, with the terminal as it was.
func pause(t *terminal) error {
	if err := t.leave(); err != nil {
		return err
	}
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	if err := unix.Kill(unix.Getpid(), unix.SIGSTOP); err != nil {
		return err
	}
	// Another thread may get the signal, and this one goes on until it has.
	select {
	case <-continued:
	case <-time.After(stopsWithin):
	}
	return t.enter()
}

// sequences are what keys send.
var sequences = map[string]press{
	"q": {key: keyQuit}, "Q": {key: keyQuit},
	"c": {keySort, ByConnects}, "l": {keySort, ByLatency}, "f": {keySort, ByFailures},
	"e": {keySort, ByEjected}, "n": {keySort, ByName},
	"\x1b[A": {key: keyUp}, "\x1bOA": {key: keyUp}, "k": {key: keyUp},
	"\x1b[B": {key: keyDown}, "\x1bOB": {key: keyDown}, "j": {key: keyDown},
	"\x1b[5~": {key: keyPageUp}, "\x1b[6~": {key: keyPageDown}, " ": {key: keyPageDown},
}

// readKeys ends when in does. What is read at once is one sequence, or single keys.
func readKeys(in *os.File, to chan<- press, done <-chan struct{}) {
	b := make([]byte, 64)
	send := func(p press) {
		select {
		case to <- p:
		case <-done:
		}
	}
	for {
		n, err := in.Read(b)
		if err != nil {
			return
		}
		for rest := string(b[:n]); rest != ""; {
			p, size := parseKey(rest)
			if size > 0 {
				send(p)
			}
			rest = rest[max(size, 1):]
		}
	}
}

// parseKey finds the key that s begins with, and how long it is; 0: none.
func parseKey(s string) (press, int) {
	for n := min(len(s), 4); n > 0; n-- {
		if p, ok := sequences[s[:n]]; ok {
			return p, n
		}
	}
	return press{}, 0
}
