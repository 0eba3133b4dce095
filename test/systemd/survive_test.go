// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

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

// comesBackAfter sends run a signal that it does not survive, or not for long: it is there
// again, and neither links nor connections of the pod are others.
func (p *pod) comesBackAfter(t *testing.T, sig syscall.Signal) {
	t.Helper()
	before, c := links(t), p.call(t)
	if err := syscall.Kill(mainPID(t), sig); err != nil {
		t.Fatal(err)
	}
	becomes(t, "NRestarts", "1")
	becomes(t, "ActiveState", "active")
	c.end(t)
	sameLinks(t, before)
}

func TestKilledRunComesBack(t *testing.T) {
	fresh(t)
	p := running(t)
	p.comesBackAfter(t, syscall.SIGKILL)
}

func TestWatchdogEndsARunThatHangs(t *testing.T) {
	fresh(t)
	if w := property(t, "WatchdogUSec"); w == "0" || w == "infinity" {
		t.Errorf("the unit has no watchdog: %s", w)
	}
	dropIn(t, "WatchdogSec=6")
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
	p.comesBackAfter(t, syscall.SIGSTOP)
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

// broken is configuration that is rejected.
func broken(t *testing.T) []byte {
	return response(t, []obj{{"name": "nobody",
		"resource": obj{"@type": "type.googleapis.com/istio.workload.Address", "workload": obj{"name": "nobody"}}}})
}

func TestRejectedConfigurationIsNotTriedAgain(t *testing.T) {
	fresh(t)
	configure(t, "shop.json", broken(t))
	if r := try(t, "systemctl", "start", unit); r.code == 0 {
		t.Error("the start succeeded")
	}
	if code, n := property(t, "ExecMainStatus"), property(t, "NRestarts"); code != "13" || n != "0" {
		t.Errorf("exit code %s after %s restarts", code, n)
	}
	try(t, node, "status").want(t, 14, "not up")
}

func TestRejectedConfigurationLeavesWhatWas(t *testing.T) {
	fresh(t)
	p := running(t)
	c := p.call(t)
	configure(t, "shop.json", broken(t))
	must(t, "systemctl", "restart", unit)
	ready(t)
	if text := property(t, "StatusText"); !strings.Contains(text, "uid: is empty") {
		t.Errorf("the unit's status does not speak of it: %s", text)
	}
	c.end(t)
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
	must(t, lib+"wait-ready")
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
