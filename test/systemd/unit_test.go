// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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

func TestRestartAdoptsWhatIsThere(t *testing.T) {
	fresh(t)
	p := running(t)
	before, pid, c := links(t), mainPID(t), p.call(t)
	must(t, "systemctl", "restart", unit)
	ready(t)
	c.end(t)
	sameLinks(t, before)
	if mainPID(t) == pid {
		t.Error("the same process")
	}
}

func TestKilledRunComesBack(t *testing.T) {
	fresh(t)
	p := running(t)
	before, c := links(t), p.call(t)
	if err := syscall.Kill(mainPID(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	becomes(t, "NRestarts", "1")
	becomes(t, "ActiveState", "active")
	c.end(t)
	sameLinks(t, before)
}

func TestWatchdogEndsARunThatHangs(t *testing.T) {
	fresh(t)
	dropIn(t, "WatchdogSec=3")
	p := running(t)
	// It is fed while all is well.
	fed := property(t, "WatchdogTimestampMonotonic")
	for range 2 {
		wait(t, func() error {
			if now := property(t, "WatchdogTimestampMonotonic"); now == fed {
				return fmt.Errorf("not fed since %s", fed)
			}
			return nil
		})
		fed = property(t, "WatchdogTimestampMonotonic")
	}
	if n := property(t, "NRestarts"); n != "0" {
		t.Fatalf("%s restarts", n)
	}
	before, c := links(t), p.call(t)
	if err := syscall.Kill(mainPID(t), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	becomes(t, "NRestarts", "1")
	becomes(t, "ActiveState", "active")
	c.end(t)
	sameLinks(t, before)
}

func TestReloadAppliesTheConfiguration(t *testing.T) {
	fresh(t)
	p := running(t)
	c := p.call(t)
	configure(t, "shop.json", response(t, service("shop", serviceIP), service("new", otherIP)))
	must(t, "systemctl", "reload", unit)
	wait(t, func() error { return p.reaches(otherIP) })
	becomes(t, "SubState", "running")

	configure(t, "shop.json", response(t, []obj{{"name": "nobody",
		"resource": obj{"@type": "type.googleapis.com/istio.workload.Address", "workload": obj{"name": "nobody"}}}}))
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

func TestStopKeepsTheDataPlane(t *testing.T) {
	fresh(t)
	p := running(t)
	before, c := links(t), p.call(t)
	must(t, "systemctl", "stop", unit)
	if s := property(t, "ActiveState"); s != "inactive" {
		t.Errorf("the unit is %s", s)
	}
	c.some(t)
	must(t, "systemctl", "start", unit)
	c.end(t)
	sameLinks(t, before)
}

func TestStopTakesTheDataPlaneDownWhereAsked(t *testing.T) {
	fresh(t)
	set(t, "KMESH_NODE_ON_STOP=down")
	p := running(t)
	// A restart and a failure are no stop.
	before, c := links(t), p.call(t)
	must(t, "systemctl", "restart", unit)
	if err := syscall.Kill(mainPID(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	becomes(t, "NRestarts", "1")
	becomes(t, "ActiveState", "active")
	c.end(t)
	sameLinks(t, before)

	must(t, "systemctl", "stop", unit)
	try(t, node, "status").want(t, 14, "not up")
	if p.reaches(serviceIP) == nil {
		t.Error("connections are still redirected")
	}
}

// otherBuild is the installed binary as another release would be: its BPF objects
// have other bytes, in the part of an ELF header that nobody reads.
func otherBuild(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(node)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for at := 1; ; {
		i := bytes.Index(b[at:], []byte(elf.ELFMAG))
		if i < 0 {
			break
		}
		at += i + len(elf.ELFMAG)
		header := b[at-len(elf.ELFMAG):]
		if len(header) > 20 && header[18] == byte(elf.EM_BPF) && header[19] == 0 {
			header[15] ^= 1
			changed++
		}
	}
	if changed == 0 {
		t.Fatal("no BPF object in " + node)
	}
	return b
}

func TestUpgradeMissesNoConnection(t *testing.T) {
	fresh(t)
	p := running(t)
	before, c := links(t), p.call(t)
	programs := must(t, node, "status", "-o", "json")
	replaceBinary(t, otherBuild(t))
	must(t, "systemctl", "restart", unit)
	ready(t)
	if must(t, node, "status", "-o", "json") == programs {
		t.Error("status is as before: nothing was updated")
	}
	c.end(t)
	// Swapped, not made anew.
	sameLinks(t, before)
}

func TestUpgradeThatFailsItsSelfTestIsTakenBack(t *testing.T) {
	fresh(t)
	p := running(t)
	before, c := links(t), p.call(t)
	replaceBinary(t, otherBuild(t))
	dropIn(t, "Environment=KMESH_NODE_FAULT=selftest", "Restart=no")
	if r := try(t, "systemctl", "restart", unit); r.code == 0 {
		t.Error("the restart succeeded")
	}
	c.end(t)
	sameLinks(t, before)
}

func TestUsageIsNotTriedAgain(t *testing.T) {
	fresh(t)
	set(t, "KMESH_NODE_MODE=neither")
	if r := try(t, "systemctl", "start", unit); r.code == 0 {
		t.Error("the start succeeded")
	}
	if s, n := property(t, "ActiveState"), property(t, "NRestarts"); s != "failed" || n != "0" {
		t.Errorf("the unit is %s after %s restarts", s, n)
	}
}

func TestCrashLoopEnds(t *testing.T) {
	fresh(t)
	p := running(t)
	c := p.call(t)
	// The first start of another build fails, again and again.
	replaceBinary(t, otherBuild(t))
	dropIn(t, "Environment=KMESH_NODE_FAULT=load", "RestartSec=10ms")
	try(t, "systemctl", "restart", unit)
	becomes(t, "ActiveState", "failed")
	if n, code := property(t, "NRestarts"), property(t, "ExecMainStatus"); n == "0" || code != "11" {
		t.Errorf("exit code %s after %s restarts", code, n)
	}
	last := property(t, "ExecMainStartTimestampMonotonic")
	if r := try(t, "systemctl", "start", unit); r.code == 0 || property(t, "ExecMainStartTimestampMonotonic") != last {
		t.Errorf("it is still tried: exit code %d, %s", r.code, r.stderr)
	}
	c.end(t)
}

func TestSecondInstanceGivesWay(t *testing.T) {
	fresh(t)
	running(t)
	r := try(t, node, "run")
	r.want(t, 15, strconv.Itoa(mainPID(t)))
	must(t, node, "up")
	try(t, node, "down").want(t, 15, strconv.Itoa(mainPID(t)))
	ready(t)
}

// A run by hand that ends is no reason for the unit to stay down.
func TestStartsWhenTheOtherOneIsGone(t *testing.T) {
	fresh(t)
	other := exec.Command(node, "run")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	wait(t, func() error {
		if r := try(t, node, "down"); r.code != 15 {
			return fmt.Errorf("no run is alive: %d %s", r.code, r.stderr)
		}
		return nil
	})
	dropIn(t, "RestartSec=2")
	if r := try(t, "systemctl", "start", unit); r.code == 0 {
		t.Error("the start succeeded")
	}
	if code := property(t, "ExecMainStatus"); code != "15" {
		t.Errorf("exit code %s", code)
	}
	if err := errors.Join(other.Process.Signal(syscall.SIGTERM), other.Wait()); err != nil {
		t.Error(err)
	}
	becomes(t, "ActiveState", "active")
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

// mounts are those that process 1 sees.
func mounts(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/1/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
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

func TestUnitIsWellFormed(t *testing.T) {
	fresh(t)
	if r := try(t, "systemd-analyze", "verify", "--man=no", unit); r.code != 0 || r.stderr != "" {
		t.Errorf("exit code %d: %s %s", r.code, r.stdout, r.stderr)
	}
}
