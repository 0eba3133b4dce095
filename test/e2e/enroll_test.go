// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// guest is a host with configuration and a pod that is not enrolled.
func guest(t *testing.T, flags ...string) (*node, *pod, *client) {
	t.Helper()
	n := upNode(t, flags...)
	p := newPod(t)
	p.serve(service, epA1)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	return n, p, p.client(0)
}

func TestOnlyEnrolledNamespacesAreTouched(t *testing.T) {
	n, p, c := guest(t)
	wantReach(t, c, service, service)
	other := newPod(t)
	other.serve(service, epA1)
	oc := other.client(0)

	n.want(exitDone, "enroll", "--netns", p.path)
	wantReach(t, c, service, epA1)
	wantReach(t, oc, service, service)
	n.want(exitDone, "enroll", "--netns", p.path) // again: nothing to do

	n.want(exitDone, "unenroll", "--netns", p.path)
	wantReach(t, c, service, service)
	refused(t, exitNotUp, n.run("unenroll", "--netns", p.path), "not enrolled")
}

func TestEnrollByProcess(t *testing.T) {
	n, p, c := guest(t)
	inside := exec.Command("nsenter", "--net="+p.path, "/proc/self/exe")
	inside.Env = append(os.Environ(), roleEnv+"="+roleHold)
	inside.Args[2] = executable(t)
	if err := inside.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := inside.Process.Kill(); err != nil {
			t.Error(err)
		}
		inside.Wait()
	}()
	pid := fmt.Sprint(inside.Process.Pid)
	// nsenter enters before it becomes the program.
	if err := eventually(func() error { return sameNamespace("/proc/"+pid+"/ns/net", p.path) }); err != nil {
		t.Fatal(err)
	}
	n.want(exitDone, "enroll", "--pid", pid)
	wantReach(t, c, service, epA1)
	n.want(exitDone, "unenroll", "--pid", pid)
	wantReach(t, c, service, service)
}

// executable returns the path of this binary, to be started by others.
func executable(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func sameNamespace(a, b string) error {
	var x, y unix.Stat_t
	if err := unix.Stat(a, &x); err != nil {
		return fmt.Errorf("stat %s: %w", a, err)
	}
	if err := unix.Stat(b, &y); err != nil {
		return fmt.Errorf("stat %s: %w", b, err)
	}
	if x.Ino != y.Ino {
		return fmt.Errorf("%s is not %s", a, b)
	}
	return nil
}

func TestEnrollFromInside(t *testing.T) {
	n, p, c := guest(t)
	inside := func(args ...string) result {
		cmd := n.command(args...)
		cmd.Args = append([]string{"nsenter", "--net=" + p.path}, cmd.Args...)
		cmd.Path = "/usr/bin/nsenter"
		return runCommand(t, cmd)
	}
	wantExit(t, exitDone, inside("enroll", "--self"))
	wantReach(t, c, service, epA1)
	wantExit(t, exitDone, inside("unenroll", "--self"))
	wantReach(t, c, service, service)
}

func TestHostNamespaceIsEnrolledOnlyWithForce(t *testing.T) {
	n, _, _ := guest(t)
	// PID 1 of these tests is in the namespace that stands for the host's.
	host := &pod{t: t, path: "/proc/1/ns/net", has: map[netip.Addr]bool{netip.MustParseAddr("127.0.0.1"): true}}
	host.serve("127.0.0.1:80")
	n.apply(cds(static("a", "127.0.0.1:80")), lds(listener("127.0.0.2:80", toCluster("a"))))
	c := host.client(0)
	const nobody = "connection refused"
	wantReach(t, c, "127.0.0.2:80", nobody)
	refused(t, exitUsage, n.run("enroll", "--netns", "/proc/1/ns/net"), "--force")
	refused(t, exitUsage, n.run("enroll", "--self"), "--force")
	wantReach(t, c, "127.0.0.2:80", nobody)
	n.want(exitDone, "enroll", "--self", "--force")
	wantReach(t, c, "127.0.0.2:80", "127.0.0.1:80")
	n.want(exitDone, "unenroll", "--self")
	wantReach(t, c, "127.0.0.2:80", nobody)
}

func TestManageAllTakesEveryProcessUnderTheCgroup(t *testing.T) {
	n, _, c := guest(t, "--manage", "all")
	wantReach(t, c, service, epA1)
	n.up("--manage", "enrolled")
	wantReach(t, c, service, service)
}

func TestOwnConnectionsAreLeftAlone(t *testing.T) {
	n, p, _ := guest(t, "--manage", "all")
	own := filepath.Join(n.bpf, "kmesh_node/ads/map/km_own")
	err := inNamespace(p.path, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		c := &conn{fd: fd}
		defer c.close()
		cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
		if err != nil {
			return err
		}
		key := binary.NativeEndian.AppendUint64(nil, cookie)
		if err := mapElem(own, unix.BPF_MAP_UPDATE_ELEM, key, []byte{1, 0, 0, 0}); err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{10, 96, 0, 10}}); err != nil {
			return err
		}
		peer, err := unix.Getpeername(fd)
		if err == nil && addrPort(peer).String() != service {
			err = fmt.Errorf("own connection to %s reached %s", service, addrPort(peer))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestControlAddressEnrollsWhereItIsAllowed(t *testing.T) {
	n, p, c := guest(t, "--control-address", "on")
	const done = "operation not permitted"
	for _, x := range []struct{ enroll, leave string }{
		{"0.0.0.2:929", "0.0.0.2:930"},
		{"[::2]:929", "[::2]:930"},
	} {
		wantReach(t, c, x.enroll, done)
		wantReach(t, c, service, epA1)
		var list any
		n.query(&list, "get", "enrolled")
		if !contains(fmt.Sprint(list), fmt.Sprint(p.cookie())) {
			t.Errorf("get enrolled does not show %d: %v", p.cookie(), list)
		}
		wantReach(t, c, x.leave, done)
		wantReach(t, c, service, service)
	}
	// The host's own namespace is never taken this way.
	host := (&pod{t: t, path: fmt.Sprintf("/proc/self/fd/%d", hostNetFD)}).client(0)
	host.do(func() {
		for _, to := range []string{"0.0.0.2:929", "[::2]:929"} {
			fd, err := begin(to)
			if err == unix.EPERM {
				t.Errorf("the host's own namespace was enrolled through %s", to)
			}
			unix.Close(fd)
		}
	})
}

func TestControlAddressIsOffByDefault(t *testing.T) {
	_, _, c := guest(t)
	for _, to := range []string{"0.0.0.2:929", "[::2]:929"} {
		if got := c.reach(to); got == "operation not permitted" {
			t.Errorf("a connection to %s was answered: %s", to, got)
		}
	}
	wantReach(t, c, service, service)
}

func TestProcessesOutsideTheCgroupAreUntouched(t *testing.T) {
	n := newNode(t)
	n.cg = filepath.Join(cgroupPath, "inside")
	if err := os.Mkdir(n.cg, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(n.cg); err != nil {
			t.Error(err)
		}
	})
	n.up()
	t.Cleanup(func() { n.want(exitDone, "down") }) // before its cgroup goes
	p := newPod(t)
	p.serve(service, epA1)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	n.enroll(p)
	c := p.client(0)
	wantReach(t, c, service, service)
	if err := moveTo(n.cg); err != nil {
		t.Fatal(err)
	}
	wantReach(t, c, service, epA1)
	if err := moveTo(cgroupPath); err != nil {
		t.Fatal(err)
	}
	wantReach(t, c, service, service)
}

// A table of slots over the cookies answers for most namespaces. Where two share
// a slot, one that leaves must not take the other with it.
func TestNamespacesThatShareASlotAreToldApart(t *testing.T) {
	n, p, c := guest(t)
	slot := func(cookie uint64) uint32 { return uint32(cookie * 0x9e3779b97f4a7c15 >> 52) }
	other := p.cookie() + 1
	for slot(other) != slot(p.cookie()) {
		other++
	}
	name := fmt.Sprint(other)
	in := func(pin string) string { return filepath.Join(n.bpf, "kmesh_node/ads/map", pin) }
	key := binary.NativeEndian.AppendUint64(nil, other)
	add := func() {
		t.Helper()
		if err := mapElem(in("km_netns"), unix.BPF_MAP_UPDATE_ELEM, key, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
	}
	n.enroll(p)
	add()
	n.want(exitDone, "unenroll", "--netns", p.path)
	wantReach(t, c, service, service)
	n.enroll(p) // the slot says that the map must be asked
	wantReach(t, c, service, epA1)
	n.want(exitDone, "unenroll", "--cookie", name)
	wantReach(t, c, service, epA1)
	n.want(exitDone, "unenroll", "--netns", p.path)

	// The other was there first, and leaves first.
	add()
	index := binary.NativeEndian.AppendUint32(nil, slot(other))
	if err := mapElem(in("km_netns_slot"), unix.BPF_MAP_UPDATE_ELEM, index, key); err != nil {
		t.Fatal(err)
	}
	wantReach(t, c, service, service)
	n.enroll(p)
	wantReach(t, c, service, epA1)
	n.want(exitDone, "unenroll", "--cookie", name)
	wantReach(t, c, service, epA1)
}
