// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestStartPreCanBeRunAgainFromAnywhere(t *testing.T) {
	fresh(t)
	tryIn(t, "/usr", lib+"start-pre").want(t, 0, "mounted bpf at /sys/fs/bpf")
	before := mounts(t)
	tryIn(t, "/", "/usr/bin/../lib/kmesh-node/start-pre").want(t, 0, "this host is ready")
	if now := mounts(t); now != before {
		t.Errorf("mounts changed:\n%s\nwere:\n%s", now, before)
	}
}

func TestStartPreMountsWhereProcess1Is(t *testing.T) {
	fresh(t)
	must(t, "unshare", "--mount", "--propagation", "private", lib+"start-pre")
	for _, m := range []string{"/sys/fs/bpf", "/mnt/kmesh_cgroup2"} {
		if !strings.Contains(mounts(t), " "+m+" ") {
			t.Errorf("%s is not mounted where process 1 is", m)
		}
	}
}

func TestStartPreTakesBackWhatItDidWhenItFails(t *testing.T) {
	fresh(t)
	before := mounts(t)
	set(t, "KMESH_NODE_BPF_FS_PATH=/mnt/new/deep/bpf", "KMESH_NODE_CGROUP2_PATH=/etc/passwd")
	try(t, lib+"start-pre").want(t, 10, "/etc/passwd: not a directory")
	if now := mounts(t); now != before {
		t.Errorf("mounts changed:\n%s\nwere:\n%s", now, before)
	}
	if _, err := os.Stat("/mnt/new"); !os.IsNotExist(err) {
		t.Errorf("/mnt/new is still there: %v", err)
	}
}

func TestStopPostSaysWhatItDoes(t *testing.T) {
	fresh(t)
	must(t, node, "up")
	try(t, lib+"stop-post").want(t, 0, "stays")
	must(t, node, "status")
	set(t, "KMESH_NODE_ON_STOP='down'")
	for range 2 {
		must(t, lib+"stop-post")
		try(t, node, "status").want(t, 14, "not up")
	}
	set(t, "KMESH_NODE_ON_STOP=maybe")
	try(t, "env", "KMESH_NODE_ON_STOP=maybe", lib+"stop-post").want(t, 2, "keep or down")
}

func TestWaitReady(t *testing.T) {
	fresh(t)
	wait := lib + "wait-ready"
	tryIn(t, "/usr", wait, "--timeout", "0").want(t, 14, "not ready")
	try(t, wait, "--timeout", "soon").want(t, 2, "not a number")
	try(t, wait, "--what").want(t, 2, "usage")
	// Without the unit: by the data plane.
	must(t, node, "up")
	try(t, wait, "--timeout=0").want(t, 0, "the data plane is up")
	// It ends when the unit is ready, not before, although the data plane is up.
	dropIn(t, "ExecStartPre=/bin/sh -c 'read line </run/go'")
	must(t, "mkfifo", "/run/go")
	t.Cleanup(func() { must(t, "rm", "/run/go") })
	must(t, "systemctl", "start", "--no-block", unit)
	try(t, wait, "--timeout", "1").want(t, 14, "starting")
	cmd := exec.Command(wait)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/run/go", []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("wait-ready: %v", err)
	}
	ready(t)
}

func TestWaitReadyDoesNotWaitForAUnitThatFailed(t *testing.T) {
	fresh(t)
	set(t, "KMESH_NODE_MODE=neither")
	try(t, "systemctl", "start", unit)
	try(t, lib+"wait-ready", "--timeout", "600").want(t, 14, "has failed")
}

// process starts one that waits in the pod, and returns its id.
func (p *pod) process(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", p.name, "sleep", "infinity")
	startUntilEnd(t, cmd)
	// ip enters the namespace and becomes sleep.
	path := fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid)
	wait(t, func() error {
		if b, err := os.ReadFile(path); err != nil || string(b) != "sleep\n" {
			return fmt.Errorf("%s: %q, %v", path, b, err)
		}
		return nil
	})
	return cmd.Process.Pid
}

func TestEnrollTakesWhatAHostKnowsOfAPod(t *testing.T) {
	fresh(t)
	enroll := lib + "enroll"
	p := newPod(t, "pod")
	must(t, node, "up")
	pid := p.process(t)
	id := strings.Repeat("0123456789abcdef", 4)
	cgroup := "/sys/fs/cgroup/kubepods.slice/kubepods-pod1234_5678.slice/cri-containerd-" + id + ".scope"
	if err := os.MkdirAll(cgroup, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{strconv.Itoa(pid), "pod", p.path(), "container:" + id, "pod:1234-5678"} {
		for range 2 {
			tryIn(t, "/usr", enroll, target).want(t, 0, "enrolled: network namespace")
		}
		if n := enrolled(t); n != 1 {
			t.Errorf("%s: %d namespaces are enrolled", target, n)
		}
		try(t, enroll, "--undo", target).want(t, 0, "unenrolled")
		if n := enrolled(t); n != 0 {
			t.Errorf("%s: %d namespaces are enrolled after --undo", target, n)
		}
	}
	try(t, enroll, "container:feedfeedfeed").want(t, 14, "no process")
	try(t, enroll).want(t, 2, "usage")
}

func enrolled(t *testing.T) int {
	t.Helper()
	return strings.Count(must(t, node, "get", "enrolled", "-o", "json"), `"cookie"`)
}

func TestEnrollIsAllOrNothing(t *testing.T) {
	fresh(t)
	enroll := lib + "enroll"
	newPod(t, "old")
	newPod(t, "new")
	try(t, enroll, "old").want(t, 14, "not up")
	must(t, node, "up")
	must(t, enroll, "--wait", "60", "old")
	try(t, enroll, "old", "new", "nowhere").want(t, 14, "nowhere")
	if n := enrolled(t); n != 1 {
		t.Errorf("%d namespaces are enrolled, 1 was", n)
	}
}
