// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// cookies are the namespaces that `get enrolled` shows.
func (m *mesh) cookies() map[uint64]bool {
	m.t.Helper()
	var list []struct{ Cookie uint64 }
	m.query(&list, "get", "enrolled")
	found := map[uint64]bool{}
	for _, n := range list {
		found[n.Cookie] = true
	}
	return found
}

// nicLinks are the pins of xdpauth for this namespace.
func (m *mesh) nicLinks(cookie uint64) []string {
	m.t.Helper()
	var found []string
	for _, pin := range m.pins() {
		if strings.HasPrefix(filepath.Base(pin), fmt.Sprintf("xdpauth-%d-", cookie)) {
			found = append(found, pin)
		}
	}
	return found
}

func denied(c *client, to string) bool { return (probe{c, to}).try() == unix.ECONNREFUSED }

func TestWorkloadEnrolmentIsAcknowledgedRepeatedAndUndone(t *testing.T) {
	m := newMesh(t)
	m.backends()
	p := m.pod(serverIP)
	p.serve(at(serverIP, 7000))
	other := m.pod(clientIP).client(0)
	m.apply(wds(serviceA(), a1(), wpod("p", serverIP)), denyAll())
	c := p.client(0)
	check := func(when string, managed bool) {
		t.Helper()
		want := vipA
		if managed {
			want = at(ip1, 8080)
		}
		wantReach(t, c, vipA, want)
		if got := denied(other, at(serverIP, 7000)); got != managed {
			t.Errorf("%s: a denied connection was denied: %v", when, got)
		}
		if got := m.cookies()[p.cookie()]; got != managed {
			t.Errorf("%s: get enrolled shows it: %v", when, got)
		}
		if got := len(m.nicLinks(p.cookie())); got > 1 || (got == 1) != managed {
			t.Errorf("%s: %d programs on its NIC", when, got)
		}
	}
	check("not enrolled", false)
	m.enroll(p)
	check("enrolled", true)
	m.enroll(p)
	check("enrolled again", true)
	m.want(exitDone, "unenroll", "--netns", p.path)
	check("released", false)
	refused(t, exitNotUp, m.run("unenroll", "--netns", p.path), "not enrolled")
	m.enroll(p)
	check("enrolled once more", true)
	m.want(exitDone, "down")
	m.up()
	m.apply(wds(serviceA(), a1(), wpod("p", serverIP)), denyAll())
	check("after down and up", false)
}

// Pods come in crowds when a node comes up, and so do the calls for them.
func TestWorkloadManyPodsAreEnrolledAtOnce(t *testing.T) {
	m := newMesh(t)
	m.backends()
	m.apply(wds(serviceA(), a1()), denyAll())
	stranger := m.pod(clientIP).client(0)
	var list []*pod
	for i := range 8 {
		p := m.pod(fmt.Sprintf("10.3.2.%d", i+1))
		p.serve(at(fmt.Sprintf("10.3.2.%d", i+1), 7000))
		list = append(list, p)
	}
	for _, verb := range []string{"enroll", "unenroll", "enroll"} {
		done := make(chan result)
		for _, p := range list {
			cmd := m.command(verb, "--netns", p.path)
			go func() { done <- runCommand(t, cmd) }()
		}
		for range list {
			if r := <-done; r.code != exitDone {
				t.Error(r)
			}
		}
		for i, p := range list {
			want := map[string]string{"enroll": at(ip1, 8080), "unenroll": vipA}[verb]
			wantReach(t, p.client(0), vipA, want)
			if got := denied(stranger, at(fmt.Sprintf("10.3.2.%d", i+1), 7000)); got != (verb == "enroll") {
				t.Errorf("after %s a denied connection was denied: %v", verb, got)
			}
		}
	}
}

// What is repaired by another enroll or up.
func TestWorkloadEnrolmentIsRepaired(t *testing.T) {
	m := newMesh(t)
	p := m.enrolled(serverIP)
	p.serve(at(serverIP, 7000))
	other := m.pod(clientIP).client(0)
	m.apply(wds(wpod("p", serverIP)), denyAll())
	for name, repair := range map[string]func(){"enroll": func() { m.enroll(p) }, "up": func() { m.up() }} {
		links := m.nicLinks(p.cookie())
		if len(links) != 1 {
			t.Fatalf("links on the NIC: %v", links)
		}
		if err := unix.Unlink(filepath.Join(m.bpf, links[0])); err != nil {
			t.Fatal(err)
		}
		if r := m.run("status"); !contains(r.out, "PROBLEM") {
			t.Errorf("%v\nsays nothing of a pod without xdpauth", r)
		}
		repair()
		if !denied(other, at(serverIP, 7000)) {
			t.Errorf("after %s a denied connection was let in", name)
		}
	}
}

func TestWorkloadPodsThatWereEnrolledAreJudgedAfterUp(t *testing.T) {
	m := newMesh(t)
	p := m.enrolled(serverIP)
	p.serve(at(serverIP, 7000))
	other := m.pod(clientIP).client(0)
	m.apply(wds(wpod("p", serverIP)), denyAll())
	for _, flags := range [][]string{{}, {"--flow-entries", "4096"}, {"--policy-slots", "8192"}} {
		m.up(flags...)
		if !denied(other, at(serverIP, 7000)) {
			t.Errorf("up %v: a denied connection was let in", flags)
		}
	}
}

func TestWorkloadNamespaceThatDiedIsForgotten(t *testing.T) {
	m := newMesh(t)
	m.backends()
	living := m.enrolled(clientIP)
	m.apply(wds(serviceA(), a1()))
	dead := &pod{t: t, name: "dead", path: "/run/netns/dead", dev: "eth0"}
	run(t, "", "ip", "netns", "add", dead.name)
	m.net.plug(t, dead)
	m.enroll(dead)
	cookie := dead.cookie()
	run(t, "", "ip", "netns", "del", dead.name)
	// The kernel takes a namespace down in its own time.
	if err := eventually(func() error {
		m.up()
		if m.cookies()[cookie] || len(m.nicLinks(cookie)) > 0 {
			return fmt.Errorf("up did not forget %d: %v", cookie, m.nicLinks(cookie))
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if !m.cookies()[living.cookie()] {
		t.Error("up forgot a namespace that lives")
	}
	wantReach(t, living.client(0), vipA, at(ip1, 8080))
}

func TestWorkloadEnrolFromInsideAndByControlAddress(t *testing.T) {
	m := newMesh(t, "--control-address", "on")
	m.backends()
	m.apply(wds(serviceA(), a1()))
	p := m.pod(clientIP)
	c := p.client(0)
	inside := func(args ...string) result {
		cmd := m.command(args...)
		cmd.Args = append([]string{"nsenter", "--net=" + p.path}, cmd.Args...)
		path, err := exec.LookPath("nsenter")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path = path
		return runCommand(t, cmd)
	}
	wantExit(t, exitDone, inside("enroll", "--self"))
	wantReach(t, c, vipA, at(ip1, 8080))
	wantExit(t, exitDone, inside("unenroll", "--self"))
	wantReach(t, c, vipA, vipA)
	const done = "operation not permitted"
	for _, x := range []struct{ enroll, leave string }{{"0.0.0.2:929", "0.0.0.2:930"}, {"[::2]:929", "[::2]:930"}} {
		wantReach(t, c, x.enroll, done)
		wantReach(t, c, vipA, at(ip1, 8080))
		wantReach(t, c, x.leave, done)
		wantReach(t, c, vipA, vipA)
	}
}

// A pod that enrolled itself by the control address is judged after the next up.
func TestWorkloadUpAttachesToPodsOfTheControlAddress(t *testing.T) {
	m := newMesh(t, "--control-address", "on")
	p := m.pod(serverIP)
	p.serve(at(serverIP, 7000))
	m.apply(wds(wpod("p", serverIP)), denyAll())
	wantReach(t, p.client(0), "0.0.0.2:929", "operation not permitted")
	m.up("--control-address", "on")
	if !denied(m.pod(clientIP).client(0), at(serverIP, 7000)) {
		t.Error("a denied connection was let in")
	}
}

func TestWorkloadManageAll(t *testing.T) {
	m := newMesh(t, "--manage", "all")
	m.backends()
	m.apply(wds(serviceA(), a1()))
	c := m.pod(clientIP).client(0)
	wantReach(t, c, vipA, at(ip1, 8080))
	if s := m.want(exitDone, "status").out; !strings.Contains(s, "policies hold at enrolled pods alone") {
		t.Errorf("status does not say where policies hold:\n%s", s)
	}
	m.up("--manage", "enrolled")
	wantReach(t, c, vipA, vipA)
}
