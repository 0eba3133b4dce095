// SPDX-License-Identifier: Apache-2.0

package podline

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

const long = time.Minute

func serve(t *testing.T, refresh func() error) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "p") // a socket's name has little room
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "sock")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // left by one that was killed
		t.Fatal(err)
	}
	s, err := Serve(path, refresh, func(err error) { t.Log(err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	})
	return path
}

func TestOneRefreshIsForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		n := 0
		s := &Server{refresh: func() error { n++; <-goOn; return nil }}
		var answered atomic.Int32
		ask := func() {
			if err := s.join(); err != nil {
				t.Error(err)
			}
			answered.Add(1)
		}
		go ask()
		synctest.Wait()
		for range 10 { // they ask while the first one is refreshed for
			go ask()
		}
		synctest.Wait()
		for round, want := range []int{1, 11} {
			goOn <- struct{}{}
			synctest.Wait()
			if got := int(answered.Load()); got != want {
				t.Errorf("after refresh %d: %d are answered, want %d", round+1, got, want)
			}
		}
		if n != 2 {
			t.Errorf("%d refreshes", n)
		}
	})
}

func TestEverybodyIsAnswered(t *testing.T) {
	path := serve(t, func() error { return nil })
	var all sync.WaitGroup
	for range 2 * callers {
		all.Go(func() {
			if err := Ask(path, long); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestErrorsAreToldInALine(t *testing.T) {
	path := serve(t, func() error { return errors.New("no lock\n" + strings.Repeat("x", 2*maxLine)) })
	if err := Ask(path, long); err == nil || !strings.Contains(err.Error(), "no lock; xxx") {
		t.Errorf("error %v", err)
	}
}

func TestNobodyAndSilence(t *testing.T) {
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sock")
	if err := Ask(path, long); !errors.Is(err, ErrNobody) {
		t.Errorf("no socket: %v", err)
	}
	// One who is stopped takes connections, by the kernel, and does not answer.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	if err := Ask(path, 10*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("silence: %v", err)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	if err := Ask(path, long); !errors.Is(err, ErrNobody) {
		t.Errorf("the socket of one who was killed: %v", err)
	}
}

func TestWhatIsNotKnownIsRefused(t *testing.T) {
	path := serve(t, func() error { t.Error("refreshed"); return nil })
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, strings.Repeat("z", 100)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, maxLine)
	n, err := c.Read(b)
	if err != nil || !strings.HasPrefix(string(b[:n]), failed) {
		t.Errorf("answer %q, %v", b[:n], err)
	}
}
