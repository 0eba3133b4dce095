// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Before Linux 5.15 a socket has room for its group of cgroup2 or for those of net_cls
// and net_prio, of version 1. From the first time on that one of these two is told to
// mark sockets, the kernel takes every new socket for one of the root of cgroup2: programs
// there are run, others not. It does not say so; that there are groups to be marked does.

// socketsAtRoot names the controller for which all sockets may count as the root's; ""
// where they have groups of cgroup2.
func socketsAtRoot() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("ask for the kernel's version: %w", err)
	}
	if atLeast(unix.ByteSliceToString(u.Release[:]), 5, 15) {
		return "", nil
	}
	text, err := os.ReadFile("/proc/cgroups")
	if errors.Is(err, os.ErrNotExist) {
		return "", nil // built without controllers
	}
	if err != nil {
		return "", fmt.Errorf("list controllers of cgroups: %w", err)
	}
	return socketController(string(text)), nil
}

// socketController finds, in /proc/cgroups, the one of the two that has groups beside
// its root.
func socketController(text string) string {
	for l := range strings.Lines(text) {
		// name, hierarchy, number of groups, enabled
		if f := strings.Fields(l); len(f) == 4 && slices.Contains([]string{"net_cls", "net_prio"}, f[0]) && f[1] != "0" && f[2] != "1" {
			return f[0]
		}
	}
	return ""
}

// unseen says why programs on the cgroup at path may not be run, and what to do about
// it; "" where they are.
func unseen(path string) (why, remedy string, err error) {
	controller, err := socketsAtRoot()
	if err != nil || controller == "" {
		return "", "", err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); errors.Is(err, os.ErrNotExist) || err == nil && st.Ino == rootCgroup {
		return "", "", nil // `up` mounts the root there
	} else if err != nil {
		return "", "", fmt.Errorf("look at cgroup: %w", err)
	}
	return fmt.Sprintf("%s of cgroup v1 has groups: where they mark sockets, Linux before 5.15 runs only programs on the root of cgroup2", controller),
		"give --cgroup2-path the root of cgroup2, or boot with cgroup_no_v1=" + controller, nil
}
