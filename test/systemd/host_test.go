// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/kmesh-net/kmesh-node/test/machine"
)

// group is the cgroup of the host that all of the tests' processes live in.
type group struct {
	path string
	dir  *os.File
	root *machine.Cgroup2
}

func newGroup() (*group, error) {
	g := &group{}
	var err error
	if g.root, err = machine.FindCgroup2(); err != nil {
		return nil, err
	}
	if g.path, err = os.MkdirTemp(g.root.Path, "kmesh-systemd-"); err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	if g.dir, err = os.Open(g.path); err != nil {
		return nil, errors.Join(fmt.Errorf("open cgroup: %w", err), g.remove())
	}
	return g, nil
}

// kill ends all in the cgroup.
func (g *group) kill() error {
	return os.WriteFile(filepath.Join(g.path, "cgroup.kill"), []byte("1"), 0)
}

// remove takes the cgroup away with those that systemd made in it.
func (g *group) remove() error {
	var dirs []string
	err := filepath.WalkDir(g.path, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	// The deepest first; the last processes in them may still be on their way out.
	for _, dir := range slices.Backward(dirs) {
		err = errors.Join(err, eventually(func() error { return os.Remove(dir) }))
	}
	if g.dir != nil {
		err = errors.Join(err, g.dir.Close())
	}
	return errors.Join(err, g.root.Close())
}

func eventually(fn func() error) error { return machine.Eventually(fn) }
