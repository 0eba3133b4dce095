// SPDX-License-Identifier: Apache-2.0

// Package machine is what suites of tests that run on a whole machine share.
package machine

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Patience bounds waits for what the kernel or a process does in its own time. No
// test depends on how long such a thing takes.
const Patience = 20 * time.Second

// Eventually calls fn until it returns nil, and gives up with its last error.
func Eventually(fn func() error) error {
	end := time.Now().Add(Patience)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := fn()
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(pause)
	}
}

// Cgroup2 is where the root of cgroup2 is mounted.
type Cgroup2 struct {
	Path string
	own  bool // mounted for this
}

// FindCgroup2 mounts it where the machine has not.
func FindCgroup2() (*Cgroup2, error) {
	c := &Cgroup2{}
	var err error
	if c.Path, err = cgroup2Mount(); err != nil || c.Path != "" {
		return c, err
	}
	if c.Path, err = os.MkdirTemp("", "kmesh-test-cgroup2-"); err != nil {
		return nil, fmt.Errorf("make mount point: %w", err)
	}
	if err := unix.Mount("none", c.Path, "cgroup2", 0, ""); err != nil {
		return nil, errors.Join(fmt.Errorf("mount cgroup2 %s: %w", c.Path, err), os.Remove(c.Path))
	}
	c.own = true
	return c, nil
}

// Close takes back what FindCgroup2 did.
func (c *Cgroup2) Close() error {
	if !c.own {
		return nil
	}
	return errors.Join(unix.Unmount(c.Path, 0), os.Remove(c.Path))
}

// cgroup2Mount returns where the root of cgroup2 is mounted, or "".
func cgroup2Mount() (path string, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s := bufio.NewScanner(f)
	for s.Scan() {
		left, right, _ := strings.Cut(s.Text(), " - ")
		l := strings.Fields(left)
		if len(l) > 4 && l[3] == "/" && strings.HasPrefix(right, "cgroup2 ") {
			return l[4], nil
		}
	}
	return "", s.Err()
}
