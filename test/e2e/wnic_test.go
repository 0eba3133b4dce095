// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"os/exec"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

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
