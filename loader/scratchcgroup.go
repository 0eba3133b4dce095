// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// scratchCgroup is a cgroup for a self-test alone, below the attached one: what runs
// there runs for it too. While somebody uses it, its directory is locked.
type scratchCgroup struct {
	cgroup
	path string
}

const scratchPrefix = "kmesh-selftest-"

func makeScratchCgroup(below string) (*scratchCgroup, error) {
	for {
		path, err := os.MkdirTemp(below, scratchPrefix)
		if err != nil {
			return nil, fmt.Errorf("make cgroup: %w", err)
		}
		cg, err := openCgroup(path)
		if err == nil {
			err = unix.Flock(cg.fd, unix.LOCK_EX|unix.LOCK_NB)
		}
		if err == nil && isAt(cg.fd, path) {
			return &scratchCgroup{cg, path}, nil
		}
		if cg.fd >= 0 {
			err = errors.Join(err, unix.Close(cg.fd))
		}
		// A sweep took it for one that was left behind.
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("open cgroup %s: %w", path, errors.Join(err, ignoreMissing(os.Remove(path))))
		}
	}
}

// isAt says whether path still leads to the open directory.
func isAt(fd int, path string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(fd, &a) == nil && unix.Lstat(path, &b) == nil && a.Ino == b.Ino
}

// remove takes the cgroup away; its processes have ended.
func (s *scratchCgroup) remove() error {
	return errors.Join(ignoreMissing(os.Remove(s.path)), unix.Close(s.fd))
}

// sweepScratchCgroups removes those that self-tests left which were killed. Below "" there
// are none.
func sweepScratchCgroups(below string) error {
	if below == "" {
		return nil
	}
	left, err := filepath.Glob(filepath.Join(below, scratchPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range left {
		cg, err := openCgroup(path)
		if err != nil {
			errs = append(errs, ignoreMissing(err))
			continue
		}
		if unix.Flock(cg.fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
			errs = append(errs, ignoreMissing(os.Remove(path)))
		}
		errs = append(errs, unix.Close(cg.fd))
	}
	return errors.Join(errs...)
}
