// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// lockPoll is how often a lock that another process holds is tried.
const lockPoll = 2 * time.Millisecond

// lock takes the writers' lock and returns what gives it up. Without a lock file there
// is nobody else.
func (s *Store) lock() (unlock func() error, err error) {
	if s.opts.LockFile == "" {
		return func() error { return nil }, nil
	}
	until := time.Now().Add(s.opts.LockTimeout)
	for {
		f, err := openLock(s.opts.LockFile)
		if err != nil {
			return nil, &exit.Error{Code: exit.NotReady, Step: "take lock", Object: s.opts.LockFile, Err: err,
				Remedy: "make its directory writable for root"}
		}
		held := flock(f, until)
		switch {
		case errors.Is(held, unix.EWOULDBLOCK):
			return nil, errors.Join(&exit.Error{Code: exit.Locked, Step: "take lock", Object: s.opts.LockFile,
				Err: errors.New("held by another kmesh-node"), Remedy: "try again, or give a longer --lock-timeout"}, f.Close())
		case held != nil:
			return nil, errors.Join(fmt.Errorf("take lock %s: %w", s.opts.LockFile, held), f.Close())
		case current(f, s.opts.LockFile):
			return f.Close, nil
		}
		// Its file was removed between the open and the lock.
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("close %s: %w", s.opts.LockFile, err)
		}
	}
}

func openLock(path string) (*os.File, error) {
	for tries := 0; ; tries++ {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		// The directory goes away when the last lock in it is removed.
		if !errors.Is(err, os.ErrNotExist) || tries > 10 {
			return f, err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
	}
}

// flock waits for the lock; EWOULDBLOCK when it is held for too long.
func flock(f *os.File, until time.Time) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || !time.Now().Before(until) {
			return err
		}
		time.Sleep(lockPoll)
	}
}

// current says whether path still names the file that is locked.
func current(f *os.File, path string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(int(f.Fd()), &a) == nil && unix.Lstat(path, &b) == nil && a.Ino == b.Ino && a.Dev == b.Dev
}
