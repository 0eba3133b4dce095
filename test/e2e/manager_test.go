// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// manager is what a service manager is to a service: it listens, and asks for a sign
// of life.
type manager struct {
	t      testing.TB
	socket string

	mu    sync.Mutex
	heard []string // one assignment each
	log   strings.Builder
}

// newManager listens until the test ends.
func newManager(t testing.TB) *manager {
	t.Helper()
	// A socket's name has little room.
	dir, err := os.MkdirTemp(workDir, "n")
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{t: t, socket: filepath.Join(dir, "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1<<16)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.heard = append(m.heard, strings.Split(string(b[:n]), "\n")...)
			m.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
		if t.Failed() {
			t.Logf("the manager heard:\n%s", strings.Join(m.all(), "\n"))
		}
	})
	return m
}

func (m *manager) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Write(b)
}

// said is all that the service wrote to standard error.
func (m *manager) said() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.String()
}

func (m *manager) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.heard)
}

// now is a place in what is heard.
func (m *manager) now() int { return len(m.all()) }

// hear waits for these words, each the beginning of an assignment, in this order and
// after that place. It returns the last of the assignments, and the place behind it.
func (m *manager) hear(after int, words ...string) (last string, place int) {
	m.t.Helper()
	err := eventually(func() error {
		at := after
		heard := m.all()
		for _, w := range words {
			i := slices.IndexFunc(heard[at:], func(s string) bool { return strings.HasPrefix(s, w) })
			if i < 0 {
				return fmt.Errorf("the manager did not hear %q", w)
			}
			at += i + 1
		}
		last, place = heard[at-1], at
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return last, place
}

// status waits for a status with these words after that place.
func (m *manager) status(after int, words ...string) {
	m.t.Helper()
	err := eventually(func() error {
		for _, s := range m.all()[after:] {
			if strings.HasPrefix(s, "STATUS=") && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(s, w) }) {
				return nil
			}
		}
		return fmt.Errorf("no status has %q", words)
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// logged waits until the service has written these words.
func (m *manager) logged(words ...string) {
	m.t.Helper()
	err := eventually(func() error {
		for _, w := range words {
			if !strings.Contains(m.said(), w) {
				return fmt.Errorf("the log does not say %q", w)
			}
		}
		return nil
	})
	if err != nil {
		m.t.Fatalf("%v:\n%s", err, m.said())
	}
}

// daemon is a kmesh-node run that a manager has started.
type daemon struct {
	*manager
	cmd *exec.Cmd
}

// serve starts run under a manager and waits until it is ready.
func (n *node) serve(args ...string) *daemon {
	n.t.Helper()
	s := n.launch(args...)
	s.hear(0, "READY=1")
	return s
}

// launch starts run under a manager.
func (n *node) launch(args ...string) *daemon {
	n.t.Helper()
	return n.manageRun(n.command(append([]string{"run"}, args...)...))
}

// manageRun starts cmd, a run, under a manager, which also reads what it writes to standard
// error where that goes nowhere yet.
func (n *node) manageRun(cmd *exec.Cmd) *daemon {
	n.t.Helper()
	m := newManager(n.t)
	cmd.Env = append(cmd.Environ(), "NOTIFY_SOCKET="+m.socket)
	if cmd.Stderr == nil {
		cmd.Stderr = m
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	s := &daemon{m, cmd}
	n.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			s.stop(exitDone)
		}
		if n.t.Failed() {
			n.t.Logf("run said:\n%s", m.said())
		}
	})
	return s
}

func (s *daemon) signal(sig unix.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// stop has the service end, with this exit code.
func (s *daemon) stop(code int) {
	s.t.Helper()
	s.signal(unix.SIGTERM)
	s.ended(code)
}

// ended waits for the service to end with this exit code.
func (s *daemon) ended(code int) {
	s.t.Helper()
	if err := s.cmd.Wait(); s.cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.t.Fatalf("run ended with %d, want %d", got, code)
	}
}
