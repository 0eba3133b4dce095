// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/lockfile"
)

// runLock ends the name of the lock that a `run` holds for as long as it lives.
const runLock = ".run.lock"

// stepLock is the step of an error about a lock that is not waited for.
const stepLock = "take lock"

// lock is a file under the run directory that one process holds at a time, with
// the holder's pid in it.
type lock struct {
	f    *os.File
	path string
}

// errHeld says that another process holds a lock; pid is 0 where it is unknown.
type errHeld struct{ pid string }

func (e errHeld) Error() string {
	if e.pid == "" {
		return "held by another kmesh-node"
	}
	return "held by kmesh-node, pid " + e.pid
}

// takeLock does not wait: held by another, it returns an *exit.Error of code
// Locked around errHeld.
func takeLock(dir, name string) (*lock, error) {
	return waitLock(dir, name, stepLock, "wait for it to end", 0)
}

// A lock that could not be had and that nobody holds was asked about (lockHeld) at that
// moment: it is tried that often again, each time for that long.
const (
	asked   = 100
	askTime = 10 * time.Millisecond
)

// waitLock is takeLock that waits; step and remedy are for who finds the lock held.
func waitLock(dir, name, step, remedy string, wait time.Duration) (*lock, error) {
	path := filepath.Join(dir, name)
	f, err := lockfile.Take(path, wait)
	for tries := 0; errors.Is(err, lockfile.ErrHeld); tries++ {
		pid, held, heldErr := lockHeld(dir, name)
		if heldErr != nil {
			return nil, heldErr
		}
		if held || tries == asked {
			return nil, &exit.Error{Code: exit.Locked, Step: step, Object: path, Err: errHeld{pid}, Remedy: remedy}
		}
		f, err = lockfile.Take(path, max(wait, askTime))
	}
	if err != nil {
		return nil, notReady("take lock", path, err, "make the directory writable for root")
	}
	l := &lock{f, path}
	if err := l.write(); err != nil {
		return nil, errors.Join(notReady("take lock", path, err, "make room there"), l.release())
	}
	return l, nil
}

// takePodsLock takes the lock of those who change what is enrolled, and waits for
// another as long as the configuration says.
func takePodsLock(cfg *Config, step string) (*lock, error) {
	cfg.Doing(step + ", when no other process changes what is enrolled")
	return waitLock(cfg.RunDir, lockName(cfg.BpfFsPath, ".pods.lock"), step, "try again, or give a longer --lock-timeout", cfg.LockTimeout)
}

// takeStoreLock takes the lock of those who write the configuration, and waits for
// another; step and remedy are for who finds it held.
func takeStoreLock(path, step, remedy string, wait time.Duration) (*os.File, error) {
	f, err := lockfile.Take(path, wait)
	if errors.Is(err, lockfile.ErrHeld) {
		return nil, &exit.Error{Code: exit.Locked, Step: step, Object: path, Err: err, Remedy: remedy}
	}
	if err != nil {
		return nil, notReady("take lock", path, err, "make its directory writable for root")
	}
	return f, nil
}

// lockHeld says who holds a lock, without taking it; "" for nobody.
func lockHeld(dir, name string) (holder string, held bool, err error) {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("open lock: %w", err)
	}
	l := &lock{f, path}
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return l.holder(), true, f.Close()
	}
	return "", false, errors.Join(err, f.Close())
}

// dropLock removes the file of a lock whose holder was killed.
func dropLock(dir, name string) error {
	if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
		return nil // as it should be
	}
	l, err := takeLock(dir, name)
	if err != nil {
		return err
	}
	return l.release()
}

func (l *lock) holder() string {
	var b [32]byte
	n, err := l.f.ReadAt(b[:], 0)
	if n == 0 && err != nil {
		return ""
	}
	return strings.TrimSpace(string(b[:n]))
}

func (l *lock) write() error {
	if err := l.f.Truncate(0); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	if _, err := l.f.WriteAt([]byte(itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	return nil
}

// release gives the lock up and removes its file, so that nothing of kmesh-node
// is left behind; whoever opened the file before looks again.
func (l *lock) release() error {
	if l == nil {
		return nil
	}
	return errors.Join(removeFile(l.path), l.f.Close(), removeEmptyDir(filepath.Dir(l.path)))
}
