// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

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

// A new NIC is taken by another enroll, and by up.
func TestWorkloadNewNICIsTaken(t *testing.T) {
	m := newMesh(t)
	p := newPod(t) // with lo alone
	m.enroll(p)
	m.net.plug(t, p)
	p.dev = "eth0"
	p.serve(at(serverIP, 7000))
	m.apply(wds(wpod("p", serverIP)), denyAll())
	m.enroll(p)
	if !denied(m.pod(clientIP).client(0), at(serverIP, 7000)) {
		t.Error("a denied connection was let in")
	}
}

// A NIC that is gone is forgotten, and the one that takes its place is taken by up.
func TestWorkloadNICThatIsReplaced(t *testing.T) {
	m := newMesh(t)
	m.backends()
	p := m.enrolled(serverIP)
	other := m.pod(clientIP).client(0)
	m.apply(wds(serviceA(), a1(), wpod("p", serverIP)), denyAll())
	for i := range 3 {
		run(t, "", "ip", "-n", p.name, "link", "del", "eth0")
		m.up()
		if links := m.nicLinks(p.cookie()); len(links) > 0 {
			t.Errorf("without a NIC there is %v", links)
		}
		if !m.cookies()[p.cookie()] {
			t.Error("a pod without a NIC is not enrolled any more")
		}
		m.net.plug(t, p)
		p.has = map[netip.Addr]bool{}
		p.serve(at(serverIP, 7000+i))
		m.up()
		if !denied(other, at(serverIP, 7000+i)) {
			t.Error("a denied connection was let in")
		}
		wantReach(t, p.client(0), vipA, at(ip1, 8080))
	}
}

// Each of a pod's NICs is judged.
func TestWorkloadPodWithTwoNICs(t *testing.T) {
	m := newMesh(t)
	second := newFabric(t)
	p := m.pod(serverIP)
	run(t, "", "ip", "link", "add", "second", "type", "veth", "peer", "name", "net1", "netns", p.name)
	run(t, "", "ip", "link", "set", "second", "master", second.name, "up")
	run(t, "link set net1 up\naddr add 192.168.7.1/24 dev net1\n", "ip", "-n", p.name, "-batch", "-")
	m.enroll(p)
	if links := m.nicLinks(p.cookie()); len(links) != 2 {
		t.Errorf("two NICs have %v", links)
	}
	p.serve(at(serverIP, 7000))
	l := p.listen("192.168.7.1:7000")
	defer l.Close()
	guest := newPod(t)
	run(t, "", "ip", "link", "add", "guest", "type", "veth", "peer", "name", "eth0", "netns", guest.name)
	run(t, "", "ip", "link", "set", "guest", "master", second.name, "up")
	run(t, "link set eth0 up\naddr add 192.168.7.2/24 dev eth0\n", "ip", "-n", guest.name, "-batch", "-")
	c := guest.client(0)
	connects := func() (err error) {
		c.do(func() {
			var conn *conn
			if conn, err = open("192.168.7.1:7000"); err == nil {
				conn.close()
			}
		})
		return err
	}
	if err := connects(); err != nil {
		t.Error(err)
	}
	m.apply(denyAll())
	if err := connects(); err != unix.ECONNREFUSED {
		t.Errorf("by the second NIC: %v, want the connection to be denied", err)
	}
	if !denied(m.pod(clientIP).client(0), at(serverIP, 7000)) {
		t.Error("by the first NIC a denied connection was let in")
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

// Native mode needs a peer that takes what xdpauth sends back; without, it is refused.
func TestNativeXDPByFlag(t *testing.T) {
	m := newMesh(t)
	p, other := m.enrolled(serverIP, serverIP6), m.pod(clientIP, clientIP6)
	m.apply(wds(wpod("p", serverIP)))
	refused(t, exitAttach, m.run("up", "--xdp-mode", "native"), "gro")
	m.wantXDP(p, "xdpgeneric")
	receiveOffload(t, "port-"+p.name)
	p.serve(at(serverIP, 7000), at(serverIP6, 7000))
	c := other.client(0)
	for _, mode := range []string{"native", "generic", "native"} {
		m.up("--xdp-mode", mode)
		m.wantXDP(p, map[string]string{"native": "xdp", "generic": "xdpgeneric"}[mode])
		m.apply(policies())
		in, own := call(t, other, p, at(serverIP, 7001)), call(t, p, other, at(clientIP6, 7002))
		in.wantAlive(mode)
		own.wantAlive(mode)
		m.apply(denyAll())
		in.wantReset(mode)
		own.wantAlive(mode)
		if !denied(c, at(serverIP, 7000)) || !denied(c, at(serverIP6, 7000)) {
			t.Errorf("%s: a denied connection was let in", mode)
		}
	}
}

// wantXDP asks how the program is attached to the pod's NIC.
func (m *mesh) wantXDP(p *pod, how string) {
	m.t.Helper()
	out, err := exec.Command("ip", "-n", p.name, "-o", "link", "show", "eth0").Output()
	if err != nil || !contains(string(out), " "+how+" ") {
		m.t.Errorf("the NIC of %s has no %s: %s, %v", p.name, how, out, err)
	}
}

// receiveOffload switches GRO on, without which a veth device takes no frames from
// its peer's XDP program.
func receiveOffload(t testing.TB, device string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	value := struct{ cmd, data uint32 }{0x2c, 1} // ETHTOOL_SGRO
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:], device)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatalf("switch GRO of %s on: %v", device, errno)
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
	m.up("--manage", "enrolled")
	wantReach(t, c, vipA, vipA)
}
