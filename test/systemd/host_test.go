// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

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

// bpfObject is one of the kernel's programs, maps or links.
type bpfObject struct {
	kind, name string
	id         int
}

// shared says that others use BPF on this machine at the same time, by
// KMESH_E2E_SHARED=1: what is the whole kernel's is not compared then.
func shared() bool { return os.Getenv("KMESH_E2E_SHARED") == "1" }

func bpfObjects() (map[bpfObject]bool, error) {
	all := map[bpfObject]bool{}
	if shared() {
		return all, nil
	}
	for _, kind := range []string{"prog", "map", "link"} {
		var out []byte
		// bpftool fails where an object goes away between its id and its turn.
		err := eventually(func() (err error) {
			out, err = exec.Command("bpftool", "-j", kind, "list").Output()
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list with bpftool: %s: %w", kind, err)
		}
		var objects []struct {
			ID   int    `json:"id"`
			Name string `json:"name"`
		}
		if len(out) > 0 {
			if err := json.Unmarshal(out, &objects); err != nil {
				return nil, fmt.Errorf("list with bpftool: %s: %w", kind, err)
			}
		}
		for _, o := range objects {
			all[bpfObject{kind, o.Name, o.ID}] = true
		}
	}
	return all, nil
}

// nothingNew fails where a BPF object outlived the first process. The kernel frees
// programs in its own time.
func nothingNew(before map[bpfObject]bool) error {
	return eventually(func() error {
		after, err := bpfObjects()
		if err != nil {
			return err
		}
		var left []string
		for o := range after {
			if !before[o] {
				left = append(left, fmt.Sprintf("%s %d %s", o.kind, o.id, o.name))
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
		}
		return nil
	})
}

func eventually(fn func() error) error { return machine.Eventually(fn) }
