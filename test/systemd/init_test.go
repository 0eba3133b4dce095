// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const systemd = "/lib/systemd/systemd"

// unitDir is the only directory that this systemd takes units from, so that no
// service of the host is started in the tests.
const unitDir = "/etc/systemd/test"

// hostUnits are those of the host that the boot needs, and the journal.
var hostUnits = []string{
	"sysinit.target", "basic.target", "sockets.target", "multi-user.target", "shutdown.target", "umount.target",
	"local-fs.target", "network.target", "network-pre.target", "exit.target", "systemd-exit.service",
	"systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket",
}

// becomeInit makes the root file system of the tests and replaces this process,
// the first of its namespaces, by systemd.
func becomeInit(shared string) error {
	top, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	root, err := makeRoot(top, shared)
	if err != nil {
		return err
	}
	if err := install(top, root); err != nil {
		return err
	}
	if err := writeUnits(root, self, filepath.Join(top, "test", "systemd")); err != nil {
		return err
	}
	if err := enterRoot(root); err != nil {
		return err
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"container=unshare", "SYSTEMD_UNIT_PATH=" + unitDir, "SYSTEMD_LOG_TARGET=journal"}
	return unix.Exec(systemd, []string{"systemd", "--system", "--unit=multi-user.target"}, env)
}

// tree is what the root file system is made of: the host's, or one with another
// systemd in it, by KMESH_SYSTEMD_TREE.
func tree() string {
	if dir := os.Getenv("KMESH_SYSTEMD_TREE"); dir != "" {
		return dir
	}
	return "/"
}

// makeRoot mounts an overlay of / with what a container's first process expects
// to find, and nothing at /sys/fs/bpf: as on a host without bpffs.
func makeRoot(top, shared string) (root string, err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("make mounts private: %w", err)
	}
	base := filepath.Join(shared, "base")
	root = filepath.Join(base, "root")
	if err := os.Mkdir(base, 0o755); err != nil {
		return "", err
	}
	if err := unix.Mount("tmpfs", base, "tmpfs", 0, "mode=755"); err != nil {
		return "", fmt.Errorf("mount tmpfs: %w", err)
	}
	for _, d := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o755); err != nil {
			return "", err
		}
	}
	type m struct {
		source, at, fs string
		flags          uintptr
		data           string
	}
	mounts := []m{
		{"overlay", "", "overlay", 0, "lowerdir=" + tree() + ",upperdir=" + base + "/upper,workdir=" + base + "/work"},
		{"proc", "proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		// The host's settings are not for systemd to change.
		{"proc/sys", "proc/sys", "", unix.MS_BIND, ""},
		{"", "proc/sys", "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY, ""},
		{"sysfs", "sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"cgroup2", "sys/fs/cgroup", "cgroup2", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, "nsdelegate"},
		{"tmpfs", "dev", "tmpfs", unix.MS_NOSUID, "mode=755"},
		{"tmpfs", "run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"tmpfs", "tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, ""},
		{"tmpfs", "mnt", "tmpfs", 0, "mode=755"},
		// The repository may be on a file system of its own.
		{top, top, "", unix.MS_BIND, ""},
		{shared, insideShared, "", unix.MS_BIND, ""},
	}
	for _, m := range mounts {
		at := filepath.Join(root, m.at)
		source := m.source
		if source == "proc/sys" {
			source = at
		}
		if err := os.MkdirAll(at, 0o755); err != nil {
			return "", err
		}
		if err := unix.Mount(source, at, m.fs, m.flags, m.data); err != nil {
			return "", fmt.Errorf("mount %s on %s: %w", source, at, err)
		}
	}
	return root, makeDevices(filepath.Join(root, "dev"))
}

func makeDevices(dev string) error {
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		at := filepath.Join(dev, name)
		if err := os.WriteFile(at, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", at, err)
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	return nil
}

// install puts kmesh-node into root, as if a package manager had.
func install(top, root string) error {
	out, err := exec.Command(filepath.Join(top, "scripts", "install.sh"), "--package", "--destdir", root).CombinedOutput()
	if err != nil {
		return fmt.Errorf("install: %w: %s", err, out)
	}
	return nil
}

// writeUnits fills unitDir: the host's units that the boot needs, kmesh-node's own
// and the tests, which end the first process.
func writeUnits(root, self, dir string) error {
	units := filepath.Join(root, unitDir)
	wants := filepath.Join(units, "sysinit.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	for _, name := range hostUnits {
		if err := os.Symlink("/usr/lib/systemd/system/"+name, filepath.Join(units, name)); err != nil {
			return err
		}
	}
	if err := os.Symlink("/usr/lib/systemd/system/kmesh-node.service", filepath.Join(units, "kmesh-node.service")); err != nil {
		return err
	}
	if err := os.Symlink("../systemd-journald.service", filepath.Join(wants, "systemd-journald.service")); err != nil {
		return err
	}
	words := []string{self}
	for _, a := range os.Args[1:] {
		words = append(words, strconv.Quote(a))
	}
	tests := `[Unit]
Description=Tests of kmesh-node
After=multi-user.target
SuccessAction=exit-force
FailureAction=exit-force

[Service]
Type=exec
WorkingDirectory=` + dir + `
Environment=` + roleEnv + `=` + roleTests + `
StandardOutput=append:` + insideShared + `/out
StandardError=inherit
ExecStart=` + strings.ReplaceAll(strings.Join(words, " "), "$", "$$") + `
ExecStopPost=/bin/sh -c 'journalctl --no-pager --all -o short-monotonic >` + insideShared + `/journal'
`
	wants = filepath.Join(units, "multi-user.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{"tests.service": tests, "containerd.service": bootContainerd,
		"pods.service": bootPods, unit: ""} {
		if text != "" {
			if err := os.WriteFile(filepath.Join(units, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		if err := os.Symlink("../"+name, filepath.Join(wants, name)); err != nil {
			return err
		}
	}
	return nil
}

// enterRoot makes root the root of this mount namespace.
func enterRoot(root string) error {
	if err := unix.Chdir(root); err != nil {
		return fmt.Errorf("change directory to %s: %w", root, err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount old root: %w", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("set lo up: %w: %s", err, out)
	}
	return nil
}
