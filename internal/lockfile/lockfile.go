// SPDX-License-Identifier: Apache-2.0

// Package lockfile takes exclusive locks on files (flock) that come and go with their
// holders.
package lockfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// poll is how often a lock that another process holds is tried.
const poll = 2 * time.Millisecond

// ErrHeld says that another process holds the lock.
var ErrHeld = errors.New("held by another kmesh-node")

// Take locks the file at path, which it makes, and its directory, where they are
// missing. Held by another, it tries for as long as wait says, then returns ErrHeld.
// Closing the file gives the lock up.
func Take(path string, wait time.Duration) (*os.File, error) {
	until := time.Now().Add(wait)
	for {
		f, made, err := open(path)
		if err != nil {
			return nil, err
		}
		if err := flock(f, until); err != nil {
			if made && !errors.Is(err, ErrHeld) {
				err = errors.Join(err, os.Remove(path))
			}
			return nil, errors.Join(err, f.Close())
		}
		if Current(f, path) {
			return f, nil
		}
		// Its last holder removed the file between the open and the lock.
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("close %s: %w", path, err)
		}
	}
}

// open says whether it made the file.
func open(path string) (f *os.File, made bool, err error) {
	const flags = os.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC
	for tries := 0; ; tries++ {
		f, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o600)
		if made = err == nil; errors.Is(err, os.ErrExist) {
			f, err = os.OpenFile(path, flags, 0)
		}
		// The file goes with its holder, its directory with the last one in it.
		if !errors.Is(err, os.ErrNotExist) || tries > 10 {
			return f, made, err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, false, err
		}
	}
}

func flock(f *os.File, until time.Time) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case !errors.Is(err, unix.EWOULDBLOCK):
			return err
		case !time.Now().Before(until):
			return ErrHeld
		}
		time.Sleep(poll)
	}
}

// Current says whether path still names the file that is locked.
func Current(f *os.File, path string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(int(f.Fd()), &a) == nil && unix.Lstat(path, &b) == nil && a.Ino == b.Ino && a.Dev == b.Dev
}
