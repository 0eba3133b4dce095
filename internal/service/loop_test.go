// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listener hears what the service manager would.
type listener struct {
	t    *testing.T
	conn *net.UnixConn
}

func listen(t *testing.T) *listener {
	t.Helper()
	dir, err := os.MkdirTemp("", "n")
	must(t, err)
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close(), os.RemoveAll(dir)) })
	t.Setenv("NOTIFY_SOCKET", path)
	return &listener{t, conn}
}

// next is the next message.
func (l *listener) next() string {
	l.t.Helper()
	must(l.t, l.conn.SetReadDeadline(time.Now().Add(patience)))
	b := make([]byte, 4096)
	n, err := l.conn.Read(b)
	must(l.t, err)
	return string(b[:n])
}

func (l *listener) want(messages ...string) {
	l.t.Helper()
	for _, m := range messages {
		if got := l.next(); !strings.HasPrefix(got, m) {
			l.t.Fatalf("heard %q, want %q", got, m)
		}
	}
}

// silent says that nothing waits to be heard.
func (l *listener) silent() {
	l.t.Helper()
	must(l.t, l.conn.SetReadDeadline(time.Now()))
	b := make([]byte, 4096)
	if n, err := l.conn.Read(b); err == nil {
		l.t.Errorf("heard %q", b[:n])
	}
}

func TestALoopTellsTheManager(t *testing.T) {
	m := listen(t)
	ctx, stop := context.WithCancel(context.Background())
	turns, done := make(chan struct{}), make(chan struct{})
	begun := make(chan struct{}, 1<<16)
	status := "one"
	l := &Loop{Notify: NewNotifier(quietLog()), Interval: time.Millisecond,
		Turn:   func(context.Context) { begun <- struct{}{}; turns <- struct{}{} },
		Reload: func(context.Context) { status = "two\nthree" },
		Status: func() string { return status }}
	l.Listen()
	go func() { l.Run(ctx); close(done) }()
	m.want("READY=1\nSTATUS=one", "WATCHDOG=1")
	// The first turn hangs now: there is no sign of life.
	<-begun
	m.silent()
	<-turns
	m.want("WATCHDOG=1")
	// During the second one comes a signal; that a reload begins is said at once.
	must(t, unix.Kill(os.Getpid(), unix.SIGHUP))
	m.want("RELOADING=1\nMONOTONIC_USEC=")
	<-turns
	for {
		got := m.next()
		if strings.HasPrefix(got, "READY=1") {
			if got != "READY=1\nSTATUS=two; three" {
				t.Errorf("after the reload: %q", got)
			}
			break
		}
		if got != "WATCHDOG=1" {
			t.Fatalf("heard %q", got)
		}
		select {
		case <-turns:
		default:
		}
	}
	stop()
	for open := true; open; {
		select {
		case <-turns:
		case <-done:
			open = false
		}
	}
	for got := ""; got != "STOPPING=1"; {
		if got = m.next(); got != "STOPPING=1" && got != "WATCHDOG=1" {
			t.Errorf("heard %q at the end", got)
		}
	}
	m.silent()
}

func TestAChangedFileIsNoSignOfLife(t *testing.T) {
	m := listen(t)
	ctx, stop := context.WithCancel(context.Background())
	changed, done := make(chan struct{}), make(chan struct{})
	status := "one"
	l := &Loop{Notify: NewNotifier(quietLog()), Interval: time.Hour, Changed: changed,
		Turn:   func(context.Context) { t.Error("a turn") },
		Reload: func(context.Context) { status += "+" },
		Status: func() string { return status }}
	l.Listen()
	go func() { l.Run(ctx); close(done) }()
	changed <- struct{}{}
	changed <- struct{}{}
	stop()
	<-done
	m.want("READY=1\nSTATUS=one", "WATCHDOG=1", "STATUS=one+", "STATUS=one++", "STOPPING=1")
	m.silent()
}

// News change the status, and nothing else follows from them.
func TestNewsAreTold(t *testing.T) {
	m := listen(t)
	ctx, stop := context.WithCancel(context.Background())
	news, done := make(chan struct{}), make(chan struct{})
	n := 0
	l := &Loop{Notify: NewNotifier(quietLog()), Interval: time.Hour, News: news,
		Turn:   func(context.Context) { t.Error("a turn") },
		Reload: func(context.Context) { t.Error("a reload") },
		Status: func() string { n++; return fmt.Sprint(n / 2) }}
	l.Listen()
	go func() { l.Run(ctx); close(done) }()
	for range 3 {
		news <- struct{}{}
	}
	stop()
	<-done
	m.want("READY=1\nSTATUS=0", "WATCHDOG=1", "STATUS=1", "STATUS=2", "STOPPING=1")
	m.silent()
}

func TestASignalBeforeTheStartIsOverIsAReloadAfterIt(t *testing.T) {
	m := listen(t)
	ctx, stop := context.WithCancel(context.Background())
	n := 0
	l := &Loop{Notify: NewNotifier(quietLog()), Interval: time.Hour,
		Turn:   func(context.Context) { stop() },
		Reload: func(context.Context) { n++ },
		Status: func() string { return "" }}
	l.Listen()
	must(t, unix.Kill(os.Getpid(), unix.SIGHUP))
	l.Run(ctx)
	if n != 1 {
		t.Errorf("%d reloads", n)
	}
	m.want("READY=1")
}

func TestWithoutAManagerNobodyIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	NewNotifier(quietLog()).Ready("")
	if d, err := WatchdogInterval(); d != 0 || err != nil {
		t.Errorf("watchdog: %v, %v", d, err)
	}
	t.Setenv("WATCHDOG_USEC", "3000000")
	t.Setenv("WATCHDOG_PID", "1")
	if d, err := WatchdogInterval(); d != 0 || err != nil {
		t.Errorf("another's watchdog: %v, %v", d, err)
	}
}
