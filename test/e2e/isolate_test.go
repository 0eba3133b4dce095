// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/test/machine"
)

const (
	workDir    = "/run/e2e"
	cgroupPath = workDir + "/cgroup2"
)

// isolate makes the inner process's view of the machine its own: no mount made
// here is seen outside, and /run, /tmp's successor and cgroup2 are private.
func isolate() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range []struct{ fs, at string }{{"proc", "/proc"}, {"tmpfs", "/run"}, {"tmpfs", "/mnt"}} {
		if err := unix.Mount("none", m.at, m.fs, 0, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.fs, m.at, err)
		}
	}
	if err := bareBPFDir(); err != nil {
		return err
	}
	for _, dir := range []string{cgroupPath, workDir + "/tmp", "/run/netns"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	if err := unix.Mount("none", cgroupPath, "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("mount cgroup2: %w", err)
	}
	// What tests leave in temporary directories goes with /run.
	if err := os.Setenv("TMPDIR", workDir+"/tmp"); err != nil {
		return err
	}
	if err := os.Unsetenv(roleEnv); err != nil {
		return err
	}
	unix.CloseOnExec(hostNetFD)
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("set lo up: %w: %s", err, out)
	}
	return nil
}

// bareBPFDir takes the host's bpffs away from /sys/fs/bpf, as on a host that has
// just come up.
func bareBPFDir() error {
	for {
		var fs unix.Statfs_t
		if err := unix.Statfs("/sys/fs/bpf", &fs); err != nil {
			return fmt.Errorf("statfs /sys/fs/bpf: %w", err)
		}
		if fs.Type != unix.BPF_FS_MAGIC {
			return nil
		}
		if err := unix.Unmount("/sys/fs/bpf", unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount /sys/fs/bpf: %w", err)
		}
	}
}

// inNamespace calls fn on a thread of its own in the network namespace at path.
// The thread ends with fn.
func inNamespace(path string, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		done <- func() error {
			if err := enterNamespace(path); err != nil {
				return err
			}
			return fn()
		}()
	}()
	return <-done
}

// enterNamespace moves the calling thread, which must be locked.
func enterNamespace(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter %s: %w", path, err)
	}
	return nil
}

const patience = machine.Patience

func eventually(fn func() error) error { return machine.Eventually(fn) }

type mount struct {
	root, point, fsType string
}

func (m mount) String() string { return m.fsType + " on " + m.point }

func readMounts() ([]mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	var mounts []mount
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) < 1 {
			return nil, fmt.Errorf("read mounts: %q", line)
		}
		mounts = append(mounts, mount{root: f[3], point: filepath.Clean(f[4]), fsType: g[0]})
	}
	return mounts, nil
}
