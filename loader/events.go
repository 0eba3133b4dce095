// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// eventsLock ends the name of the lock of the one reader of events.
const eventsLock = ".events.lock"

// LockEvents makes this process the one reader of events until release is called:
// each event goes to one reader only. An *exit.Error of code Locked names the other.
func (c *Config) LockEvents() (release func() error, err error) {
	l, err := takeLock(c.RunDir, lockName(c.BpfFsPath, eventsLock))
	if err != nil {
		return nil, err
	}
	return l.release, nil
}

// Current says whether the map is still the one that is pinned: a `down` takes the
// pin away, and an `up` after that makes another map.
func (h *Handles) Current(name string) (bool, error) {
	fd, err := pinGet(h.cfg.tree().pin(mapDir, name))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open map %s: %w", name, err)
	}
	now, err := mapInfoOf(fd)
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return false, fmt.Errorf("ask for the id of map %s: %w", name, err)
	}
	held, err := mapInfoOf(h.fds[name])
	if err != nil {
		return false, fmt.Errorf("ask for the id of map %s: %w", name, err)
	}
	return now.ID == held.ID, nil
}
