// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Outside tells of processes whose connections should be managed and are not, because
// they are not in the cgroup that the programs are attached to, nor below it.
type Outside struct {
	Count    int      `json:"count"`
	Examples []string `json:"examples"`
}

const outsideExamples = 3

// rootCgroup is the id of the root of cgroup2's one hierarchy.
const rootCgroup = 1

// findOutside looks at the processes in these network namespaces, each by its device and
// inode; in every one where all is set. nil: there is none outside.
func findOutside(cgroup string, namespaces map[[2]uint64]bool, all bool) (*Outside, error) {
	var st unix.Stat_t
	if err := unix.Stat(cgroup, &st); err != nil {
		return nil, fmt.Errorf("look at cgroup %s: %w", cgroup, err)
	}
	if st.Ino == rootCgroup || !all && len(namespaces) == 0 {
		return nil, nil
	}
	within, err := cgroupOf(cgroup)
	if err != nil {
		return nil, err
	}
	processes, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		return nil, err
	}
	out := &Outside{}
	for _, p := range processes {
		if !all && !inOneOf(p, namespaces) {
			continue
		}
		at, kernel, ok := cgroupOfProcess(p)
		if !ok || kernel || isBelow(at, within) {
			continue
		}
		if out.Count++; len(out.Examples) < outsideExamples {
			out.Examples = append(out.Examples, fmt.Sprintf("%s (%s) in %s", filepath.Base(p), commandOf(p), at))
		}
	}
	if out.Count == 0 {
		return nil, nil
	}
	return out, nil
}

// cgroupOf is a cgroup2 directory's path from the root of this process's cgroup
// namespace, as /proc/PID/cgroup has it.
func cgroupOf(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("look at cgroup %s: %w", dir, err)
	}
	m, err := readMounts(func(m *mountPoint) bool {
		return m.fstype == cgroup2.name && (isBelow(real, m.path) || m.path == "/")
	})
	if err != nil || m == nil {
		return "", errors.Join(fmt.Errorf("find the mount of cgroup %s", dir), err)
	}
	return filepath.Join(m.fsRoot, strings.TrimPrefix(real, m.path)), nil
}

// isBelow says whether path is base, or below it. One that leads up out of the
// namespace is not.
func isBelow(path, base string) bool {
	if base == "/" {
		return path != "/.." && !strings.HasPrefix(path, "/../")
	}
	return path == base || strings.HasPrefix(path, base+"/")
}

func inOneOf(proc string, namespaces map[[2]uint64]bool) bool {
	id, err := identityOf(proc + "/ns/net")
	return err == nil && namespaces[id]
}

// identityOf tells a namespace from others.
func identityOf(path string) ([2]uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return [2]uint64{uint64(st.Dev), st.Ino}, err
}

// cgroupOfProcess is where a process is in cgroup2, and whether it is one of the
// kernel's own; not ok: it has ended.
func cgroupOfProcess(proc string) (at string, kernel, ok bool) {
	b, err := os.ReadFile(proc + "/cgroup")
	if err != nil {
		return "", false, false
	}
	for line := range strings.Lines(string(b)) {
		if v, found := strings.CutPrefix(line, "0::"); found {
			at, ok = strings.TrimSuffix(strings.TrimSpace(v), " (deleted)"), true
		}
	}
	cmdline, err := os.ReadFile(proc + "/cmdline")
	return at, err == nil && len(cmdline) == 0, ok
}

func commandOf(proc string) string {
	b, err := os.ReadFile(proc + "/comm")
	if err != nil {
		return "ended"
	}
	return string(bytes.TrimSpace(b))
}
