// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// broken runs up, which must fail and leave the host as it was.
func broken(t *testing.T, n *node, code int, words ...string) {
	t.Helper()
	before, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	refused(t, code, n.run("up"), words...)
	if err := before.unchanged(); err != nil {
		t.Errorf("after an up that failed:\n%v", err)
	}
}

func mountAt(t *testing.T, fs, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", path, fs, 0, ""); err != nil {
		t.Fatalf("mount %s on %s: %v", fs, path, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Errorf("unmount %s: %v", path, err)
		}
	})
}

// elsewhere is a host with these two paths in place of its own.
func elsewhere(n *node, bpf, cgroup string) *node {
	c := *n
	if bpf != "" {
		c.bpf = bpf
	}
	if cgroup != "" {
		c.cg = cgroup
	}
	return &c
}

func TestWrongMountsAreRefused(t *testing.T) {
	n := newNode(t)
	other := filepath.Join(n.dir, "other")
	mountAt(t, "tmpfs", other)
	t.Run("not a bpffs", func(t *testing.T) {
		broken(t, elsewhere(n.in(t), other, ""), exitNotReady, other, "--bpf-fs-path")
	})
	t.Run("not a cgroup2", func(t *testing.T) {
		broken(t, elsewhere(n.in(t), "", other), exitNotReady, other, "--cgroup2-path")
	})
	t.Run("a cgroup of version 1", func(t *testing.T) {
		v1 := cgroup1Mount(t)
		broken(t, elsewhere(n.in(t), "", v1), exitNotReady, v1, "--cgroup2-path")
	})
}

// cgroup1Mount returns where the host has a cgroup of version 1.
func cgroup1Mount(t *testing.T) string {
	t.Helper()
	mounts, err := readMounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if m.fsType == "cgroup" {
			return m.point
		}
	}
	t.Skip("this host has no cgroup of version 1")
	return ""
}

func TestFileWhereADirectoryShouldBeIsRefused(t *testing.T) {
	n := newNode(t)
	file := filepath.Join(n.dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("bpffs", func(t *testing.T) {
		broken(t, elsewhere(n.in(t), file, ""), exitNotReady, file, "directory")
	})
	t.Run("cgroup2", func(t *testing.T) {
		broken(t, elsewhere(n.in(t), "", file), exitNotReady, file, "directory")
	})
	t.Run("below a file", func(t *testing.T) {
		broken(t, elsewhere(n.in(t), filepath.Join(file, "bpf"), ""), exitNotReady, file)
	})
	t.Run("pins", func(t *testing.T) {
		// bpffs holds directories and objects only: an object in the way.
		way := filepath.Join(n.bpf, "kmesh_node")
		run(t, "", "bpftool", "map", "create", way, "type", "array", "key", "4", "value", "4", "entries", "1", "name", "in_the_way")
		defer func() {
			if err := os.Remove(way); err != nil {
				t.Error(err)
			}
		}()
		broken(t, n.in(t), exitNotReady, way)
	})
}

func TestNoCapabilitiesIsSaid(t *testing.T) {
	n := newNode(t)
	without := func(caps string, args ...string) result {
		cmd := n.command(args...)
		cmd.Args = append([]string{"setpriv", "--bounding-set", caps}, cmd.Args...)
		cmd.Path = "/usr/bin/setpriv"
		return runCommand(t, cmd)
	}
	before, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	refused(t, exitNotReady, without("-all", "up"), "capabilit")
	refused(t, exitNotReady, without("-all", "check"), "capabilit")
	refused(t, exitNotReady, without("-net_admin", "up"), "CAP_NET_ADMIN")
	refused(t, exitNotReady, without("-sys_admin,-bpf", "up"), "CAP_SYS_ADMIN")
	if err := before.unchanged(); err != nil {
		t.Errorf("after up without capabilities:\n%v", err)
	}
}

// withoutBTF runs kmesh-node where the kernel's type information is hidden.
func (n *node) withoutBTF(args ...string) result {
	n.t.Helper()
	cmd := n.command(args...)
	hidden := `mount -t tmpfs none /sys/kernel/btf && exec "$@"`
	cmd.Args = append([]string{"unshare", "--mount", "sh", "-c", hidden, "sh"}, cmd.Args...)
	path, err := exec.LookPath("unshare")
	if err != nil {
		n.t.Fatal(err)
	}
	cmd.Path = path
	return runCommand(n.t, cmd)
}

func TestNoBTFIsSaid(t *testing.T) {
	n := newNode(t)
	before, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	refused(t, exitNotReady, n.withoutBTF("up"), "BTF", "CONFIG_DEBUG_INFO_BTF")
	refused(t, exitNotReady, n.withoutBTF("check"), "BTF")
	if err := before.unchanged(); err != nil {
		t.Errorf("after up without BTF:\n%v", err)
	}
}

func TestCheckSaysThatThisHostIsAble(t *testing.T) {
	n := newNode(t)
	n.want(exitDone, "check")
	before, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	r := n.want(exitDone, "check", "--verify")
	for _, program := range []string{"sockconn4", "sockconn6", "cluster4", "cluster6", "sock_ops", "sock_state", "connect_ret"} {
		if !contains(r.out, program) {
			t.Errorf("%v\ndoes not show %s", r, program)
		}
	}
	if err := before.unchanged(); err != nil {
		t.Errorf("after check --verify:\n%v", err)
	}
}

func TestStrangersProgramOnTheCgroupStays(t *testing.T) {
	n := upNode(t)
	p := newPod(t)
	p.serve(service, epA1)
	n.enroll(p)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	// Another kmesh-node on the same cgroup, with its own pins: a stranger to the
	// first. Both see the connect; one has no configuration.
	other := newNode(t)
	other.up()
	c := p.client(0)
	wantReach(t, c, service, epA1)
	other.want(exitDone, "down")
	wantReach(t, c, service, epA1)
}
