// SPDX-License-Identifier: Apache-2.0

// Package podline is how the CNI plugin asks a live `run` to bring up to date what the
// configuration says of a pod that it has just enrolled: run has all of the configuration
// at hand, which the plugin would have to read. A line goes each way over a socket that
// root alone may use.
package podline

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	request = "refresh\n"
	done    = "ok\n"
	failed  = "error "
	// maxLine is more than any error says.
	maxLine = 4096
	// patience is how long one who is connected may take to ask, or to listen.
	patience = time.Second
	// callers are served at the same time; more wait in the socket's queue.
	callers = 64
)

// ErrNobody says that no `run` listens.
var ErrNobody = errors.New("no run listens")

// Ask has a live `run` refresh, and returns when that is in force. ErrNobody: there is
// none. It waits no longer than that.
func Ask(path string, wait time.Duration) error {
	until := time.Now().Add(wait)
	dialer := net.Dialer{Deadline: until}
	conn, err := dialer.Dial("unix", path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return ErrNobody
	}
	if err != nil {
		return fmt.Errorf("ask run: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(until); err != nil {
		return fmt.Errorf("ask run: %w", err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return fmt.Errorf("ask run: %w", err)
	}
	answer, err := bufio.NewReader(io.LimitReader(conn, maxLine)).ReadString('\n')
	if err != nil {
		return fmt.Errorf("ask run: %w", err)
	}
	if text, is := strings.CutPrefix(answer, failed); is {
		return fmt.Errorf("ask run: %s", strings.TrimSpace(text))
	}
	if answer != done {
		return fmt.Errorf("ask run: it answers %q", answer)
	}
	return nil
}

// Server answers those who ask.
type Server struct {
	listener *net.UnixListener
	refresh  func() error
	warn     func(error)
	slots    chan struct{}
	serving  sync.WaitGroup

	mu      sync.Mutex
	waiting *round // of those who ask now; nil: none
	busy    bool   // a round is under way
}

// round is one refresh, for all who asked before it began.
type round struct {
	over chan struct{}
	err  error
}

// Serve listens at path, in place of what a `run` that was killed left there. refresh is
// called for everybody who asked by then, once at a time. warn hears of callers that are
// refused.
func Serve(path string, refresh func() error, warn func(error)) (*Server, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen for pods: %w", err)
	}
	// Until its mode is changed nobody can connect whom the directory keeps out.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for pods: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fmt.Errorf("listen for pods: %w", errors.Join(err, l.Close()))
	}
	s := &Server{listener: l, refresh: refresh, warn: warn, slots: make(chan struct{}, callers)}
	s.serving.Go(s.accept)
	return s, nil
}

// Close stops listening and waits for what is under way.
func (s *Server) Close() error {
	err := s.listener.Close() // its file goes with it
	s.serving.Wait()
	return err
}

func (s *Server) accept() {
	for {
		s.slots <- struct{}{}
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			<-s.slots
			s.warn(fmt.Errorf("accept: %w", err))
			time.Sleep(patience) // no descriptors, in general: others need them
			continue
		}
		s.serving.Go(func() {
			defer func() { <-s.slots }()
			if err := errors.Join(s.serve(conn), conn.Close()); err != nil {
				s.warn(err)
			}
		})
	}
}

func (s *Server) serve(conn *net.UnixConn) error {
	if err := fromRoot(conn); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	line := make([]byte, len(request))
	if _, err := io.ReadFull(conn, line); err != nil {
		return fmt.Errorf("read what is asked for: %w", err)
	}
	answer := done
	if string(line) != request {
		answer = failed + "asked for what is not known\n"
	} else if err := s.join(); err != nil {
		answer = failed + strings.ReplaceAll(err.Error(), "\n", "; ")
		answer = answer[:min(len(answer), maxLine-1)] + "\n"
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, answer); err != nil && !errors.Is(err, unix.EPIPE) {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// fromRoot refuses other users, who cannot open the socket but may have been handed it.
func fromRoot(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var who *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) { who, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, asked); err != nil {
		return fmt.Errorf("ask who calls: %w", err)
	}
	if who.Uid != uint32(os.Geteuid()) && who.Uid != 0 {
		return fmt.Errorf("user %d calls: root alone may", who.Uid)
	}
	return nil
}

// join waits for a refresh that begins after the call.
func (s *Server) join() error {
	s.mu.Lock()
	if s.waiting == nil {
		s.waiting = &round{over: make(chan struct{})}
	}
	r := s.waiting
	if !s.busy {
		s.busy = true
		s.serving.Go(s.rounds)
	}
	s.mu.Unlock()
	<-r.over
	return r.err
}

// rounds refreshes for as long as somebody waits.
func (s *Server) rounds() {
	for {
		s.mu.Lock()
		r := s.waiting
		s.waiting = nil
		s.busy = r != nil
		s.mu.Unlock()
		if r == nil {
			return
		}
		r.err = s.refresh()
		close(r.over)
	}
}
