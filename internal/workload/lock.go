// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/lockfile"
)

// lock takes the writers' lock and returns what gives it up. Without a lock file there
// is nobody else.
func (s *Store) lock() (unlock func() error, err error) {
	if s.opts.LockFile == "" {
		return func() error { return nil }, nil
	}
	f, err := lockfile.Take(s.opts.LockFile, s.opts.LockTimeout)
	switch {
	case errors.Is(err, lockfile.ErrHeld):
		return nil, &exit.Error{Code: exit.Locked, Step: "take lock", Object: s.opts.LockFile, Err: err,
			Remedy: "try again, or give a longer --lock-timeout"}
	case err != nil:
		return nil, &exit.Error{Code: exit.NotReady, Step: "take lock", Object: s.opts.LockFile, Err: err,
			Remedy: "make its directory writable for root"}
	}
	return f.Close, nil
}
