// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	faults "github.com/kmesh-net/kmesh-node/internal/fault"
)

const (
	remedyCaps = "run as root, or give the process that capability"
	remedyBTF  = "run a kernel built with CONFIG_DEBUG_INFO_BTF=y, or give --btf a file with the BTF of this one"
)

// initUserNs is the inode of the first user namespace (PROC_USER_INIT_INO): the
// kernel asks for capabilities there, and those of a container's count for nothing.
const initUserNs = 0xEFFFFFFD

// needed are the capabilities without which `up` cannot work, and for what.
// CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON.
var needed = []struct {
	bit  uint
	name string
	why  string
}{
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "mounts, opening maps by id, and CAP_BPF and CAP_PERFMON, which it includes"},
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "programs on a cgroup's sockets"},
}

// helpful are capabilities that `up` can do without.
var helpful = []struct {
	bit    uint
	name   string
	why    string
	remedy string
}{
	{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "finding pods by processes that have more capabilities than this one",
		"give it too, or mount the namespaces of pods under /run/netns"},
}

// hostReady is the part of `check` that `up` begins with: what is quick, and
// without which nothing else can be told.
func hostReady(cfg *Config) error {
	if err := capable(); err != nil {
		return err
	}
	return cfg.checkBTF()
}

// capable names the first missing capability.
func capable() error {
	have, err := effectiveCaps()
	if err != nil {
		return notReady("check host", "capabilities", err, "mount /proc")
	}
	for _, c := range needed {
		if have&(1<<c.bit) == 0 {
			return notReady("check host", c.name, fmt.Errorf("this process lacks the capability, needed for %s", c.why), remedyCaps)
		}
	}
	if inUserNamespace() {
		return notReady("check host", "CAP_SYS_ADMIN",
			errors.New("this process is in a user namespace, whose capabilities do not reach BPF"), "run it in the host's")
	}
	return nil
}

// inUserNamespace says whether this process is in one of its own.
func inUserNamespace() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/self/ns/user", &st) == nil && st.Ino != initUserNs
}

func effectiveCaps() (uint64, error) {
	f, err := os.Open("/proc/thread-self/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if v, ok := strings.CutPrefix(s.Text(), "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(v), 16, 64)
		}
	}
	return 0, errors.Join(errors.New("/proc/thread-self/status has no CapEff"), s.Err())
}

// fault is fault.At: each step of the loader begins with it.
func fault(step string) error { return faults.At(step) }

var errFault = faults.ErrMade
