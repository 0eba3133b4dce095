// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ready asks for the unit to be what it is after READY=1.
func ready(t *testing.T) {
	t.Helper()
	if a, s := property(t, "ActiveState"), property(t, "SubState"); a != "active" || s != "running" {
		t.Fatalf("the unit is %s (%s): %s", a, s, property(t, "StatusText"))
	}
}

func mainPID(t *testing.T) int {
	t.Helper()
	pid, err := strconv.Atoi(property(t, "MainPID"))
	if err != nil || pid == 0 {
		t.Fatalf("main process %d: %v", pid, err)
	}
	return pid
}

// links are the ids of the links by name, as the kernel has them.
func links(t *testing.T) map[string]uint32 {
	t.Helper()
	var status struct {
		Links []struct {
			Name string `json:"name"`
			ID   uint32 `json:"id"`
			Prog uint32 `json:"program_id"`
		} `json:"links"`
	}
	if err := json.Unmarshal([]byte(must(t, node, "status", "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	l := map[string]uint32{}
	for _, s := range status.Links {
		l[s.Name] = s.ID
	}
	if len(l) == 0 {
		t.Fatal("status shows no links")
	}
	return l
}

func sameLinks(t *testing.T, before map[string]uint32) {
	t.Helper()
	after := links(t)
	for name, id := range before {
		if after[name] != id {
			t.Errorf("link %s: id %d, it was %d", name, after[name], id)
		}
	}
}

func TestSettingsHoldForTheScriptsToo(t *testing.T) {
	fresh(t)
	set(t, "KMESH_NODE_BPF_FS_PATH=/mnt/other/bpf", "KMESH_NODE_ON_STOP=down")
	must(t, "systemctl", "start", unit)
	if !strings.Contains(mounts(t), " /mnt/other/bpf ") || strings.Contains(mounts(t), " /sys/fs/bpf ") {
		t.Errorf("bpffs is not at /mnt/other/bpf alone:\n%s", mounts(t))
	}
	must(t, "systemctl", "stop", unit)
	if strings.Contains(mounts(t), " kmesh-node") {
		t.Errorf("stop-post left mounts:\n%s", mounts(t))
	}
	if _, err := os.Stat("/mnt/other"); !os.IsNotExist(err) {
		t.Errorf("/mnt/other is still there: %v", err)
	}
}

// mounts are those that process 1 sees.
func mounts(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/1/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestStartIsOverWhenTheDataPlaneWorks(t *testing.T) {
	fresh(t)
	running(t)
	ready(t)
	text := property(t, "StatusText")
	for _, part := range []string{"workload", "generation"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in the unit's status: %q", part, text)
		}
	}
	if n := property(t, "NRestarts"); n != "0" {
		t.Errorf("%s restarts", n)
	}
}

// The result of connect is learnt in one of two ways, of which one needs perf events.
func TestStartsInAdsMode(t *testing.T) {
	for _, way := range []string{"auto", "sys_exit_connect"} {
		fresh(t)
		set(t, "KMESH_NODE_MODE=ads", "KMESH_NODE_CONNECT_RET="+way)
		must(t, "systemctl", "start", unit)
		ready(t)
		must(t, "systemctl", "restart", unit)
		ready(t)
	}
}

func TestIsNotReadyWhenTheSelfTestFails(t *testing.T) {
	fresh(t)
	dropIn(t, "Environment=KMESH_NODE_FAULT=selftest", "Restart=no")
	if r := try(t, "systemctl", "start", unit); r.code == 0 {
		t.Error("the start succeeded")
	}
	if s := property(t, "ActiveState"); s != "failed" {
		t.Errorf("the unit is %s", s)
	}
	if code := property(t, "ExecMainStatus"); code != "11" {
		t.Errorf("exit code %s", code)
	}
	if at := property(t, "ActiveEnterTimestampMonotonic"); at != "0" && at >= property(t, "ExecMainStartTimestampMonotonic") {
		t.Error("it was active")
	}
}

func TestStartsWhereNothingIsMounted(t *testing.T) {
	fresh(t)
	for _, m := range []string{"/sys/fs/bpf", "/mnt/kmesh_cgroup2"} {
		if strings.Contains(mounts(t), " "+m+" ") {
			t.Fatalf("%s is mounted", m)
		}
	}
	must(t, "systemctl", "start", unit)
	for _, m := range []string{"/sys/fs/bpf", "/mnt/kmesh_cgroup2"} {
		if !strings.Contains(mounts(t), " "+m+" ") {
			t.Errorf("%s is not mounted where process 1 is", m)
		}
	}
	must(t, "systemctl", "stop", unit)
	must(t, node, "down")
	if strings.Contains(mounts(t), " kmesh-node") {
		t.Errorf("down left mounts:\n%s", mounts(t))
	}
}

func TestReloadAppliesTheConfiguration(t *testing.T) {
	fresh(t)
	p := running(t)
	c := p.call(t)
	configure(t, "shop.json", response(t, service("shop", serviceIP), service("new", otherIP)))
	must(t, "systemctl", "reload", unit)
	wait(t, func() error { return p.reaches(otherIP) })
	becomes(t, "SubState", "running")

	configure(t, "shop.json", broken(t))
	try(t, "systemctl", "reload", unit) // may say that it was rejected
	wait(t, func() error {
		if text := property(t, "StatusText"); !strings.Contains(text, "uid: is empty") {
			return fmt.Errorf("the unit's status does not speak of it: %s", text)
		}
		return nil
	})
	becomes(t, "SubState", "running")
	if err := p.reaches(otherIP); err != nil {
		t.Errorf("what was is gone: %v", err)
	}

	configure(t, "shop.json", response(t, service("shop", serviceIP)))
	must(t, "systemctl", "reload", unit)
	wait(t, func() error {
		if p.reaches(otherIP) == nil {
			return fmt.Errorf("a service that is no longer in the configuration is still there")
		}
		return nil
	})
	c.end(t)
	if n := property(t, "NRestarts"); n != "0" {
		t.Errorf("%s restarts", n)
	}
}

func TestCheckFindsABpffsThatWouldGoWithItsUnit(t *testing.T) {
	fresh(t)
	const private, said = "private.service", "/run/private"
	write(t, unitDir+"/"+private, []byte("[Service]\nType=oneshot\nPrivateMounts=yes\nStandardOutput=file:"+said+"\nExecStart="+node+" check -o json\n"))
	t.Cleanup(func() { must(t, "rm", unitDir+"/"+private, said) })
	check := func() string {
		must(t, "rm", "-f", said)
		must(t, "systemctl", "daemon-reload")
		must(t, "systemctl", "start", private)
		return must(t, "cat", said)
	}
	if out := check(); !strings.Contains(out, "own mount namespace") {
		t.Errorf("check does not see that its bpffs would go with the unit: %s", out)
	}
	must(t, lib+"start-pre")
	if out := check(); strings.Contains(out, "own mount namespace") {
		t.Errorf("check does not see the host's bpffs: %s", out)
	}
}

func TestUnitIsWellFormed(t *testing.T) {
	fresh(t)
	if r := try(t, "systemd-analyze", "verify", "--man=no", unit); r.code != 0 || r.stderr != "" {
		t.Errorf("exit code %d: %s %s", r.code, r.stdout, r.stderr)
	}
}

func TestRunIsConfined(t *testing.T) {
	fresh(t)
	must(t, "systemctl", "start", unit)
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(mainPID(t)), "status"))
	if err != nil {
		t.Fatal(err)
	}
	// NET_ADMIN, SYS_PTRACE, SYS_ADMIN.
	for _, line := range []string{"CapEff:\t0000000000281000", "CapBnd:\t0000000000281000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), line+"\n") {
			t.Errorf("no %q in:\n%s", line, status)
		}
	}
	host, err := os.Readlink("/proc/1/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", mainPID(t)))
	if err != nil {
		t.Fatal(err)
	}
	if own != host {
		t.Error("run has a mount namespace of its own")
	}
}
