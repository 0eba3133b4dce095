// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func start(t testing.TB, listen ...string) *Probe {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a network namespace")
	}
	var at []netip.AddrPort
	for _, a := range listen {
		at = append(at, netip.MustParseAddrPort(a))
	}
	p, err := Start(-1, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestConnectionsArriveOrSayWhyNot(t *testing.T) {
	p := start(t, "127.0.0.1:7001", "[::1]:7002")
	to := func(a string) Conn { return Conn{To: netip.MustParseAddrPort(a), Talk: true} }
	for range 3 {
		got, err := p.Round(to("127.0.0.1:7001"), to("[::1]:7002"), to("127.0.0.1:7003"), to("192.0.2.1:1"))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []struct {
			at  string
			err error
		}{{"127.0.0.1:7001", nil}, {"[::1]:7002", p.Listens(1)}, {"", unix.ECONNREFUSED}, {"", unix.ENETUNREACH}} {
			o := got[i]
			if want.err != nil && !errors.Is(o.Err, unix.EADDRNOTAVAIL) && !errors.Is(o.Err, want.err) || want.err == nil && o.Err != nil {
				t.Errorf("connection %d: %v, want %v", i, o.Err, want.err)
			}
			if want.err == nil && (o.At.String() != want.at || string(o.Bytes) != "k") {
				t.Errorf("connection %d arrived at %v with %q, want %s", i, o.At, o.Bytes, want.at)
			}
		}
	}
}

func TestProcessIsInANamespaceOfItsOwn(t *testing.T) {
	p, q := start(t), start(t)
	a, err := p.Cookie()
	if errors.Is(err, unix.ENOPROTOOPT) {
		t.Skip("this kernel does not tell a namespace's cookie: Linux 5.14 does")
	}
	b, berr := q.Cookie()
	if err != nil || berr != nil || a == b {
		t.Errorf("cookies %d, %d: %v, %v", a, b, err, berr)
	}
}

// Else a lock of the program that is killed would still be held here, for a moment.
func TestProcessHasNoDescriptorsOfTheProgram(t *testing.T) {
	p := start(t)
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid))
	if err != nil {
		t.Fatal(err)
	}
	if len(fds) != 1 {
		t.Errorf("%d descriptors, want one: %v", len(fds), fds)
	}
}

// A sandbox that cannot look into the arguments of clone3 has it fail with ENOSYS.
func TestStartInACgroupWithAndWithoutClone3(t *testing.T) {
	start(t) // or skip
	for _, forbidden := range [][]uint32{nil, {unix.SYS_CLONE3}} {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with its filter
			for _, call := range forbidden {
				if err := forbid(call); err != nil {
					done <- err
					return
				}
			}
			done <- inScratchCgroup(func(cg int) error {
				p, err := Start(cg, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:7001")})
				if err != nil {
					return err
				}
				got, err := p.Round(Conn{To: netip.MustParseAddrPort("127.0.0.1:7001")})
				if err == nil {
					err = got[0].Err
				}
				return errors.Join(err, p.isIn(cg), p.Close())
			})
		}()
		if err := <-done; err != nil {
			t.Errorf("without %v: %v", forbidden, err)
		}
	}
}

// isIn asks for the process, and no other, to be in the cgroup.
func (p *Probe) isIn(cg int) error {
	fd, err := unix.Openat(cg, "cgroup.procs", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var b [64]byte
	n, err := unix.Read(fd, b[:])
	if got := strings.TrimSpace(string(b[:max(n, 0)])); err == nil && got != strconv.Itoa(p.pid) {
		err = fmt.Errorf("in the cgroup are %q, the process is %d", got, p.pid)
	}
	return errors.Join(err, unix.Close(fd))
}

// inScratchCgroup makes a cgroup for do, through a mount that no path leads to.
func inScratchCgroup(do func(cg int) error) error {
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	name := "kmesh-probe-" + strconv.Itoa(os.Getpid())
	if err := unix.Mkdirat(root, name, 0o700); err != nil {
		return err
	}
	cg, err := unix.Openat(root, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(do(cg), unix.Close(cg))
	}
	return errors.Join(err, unix.Unlinkat(root, name, unix.AT_REMOVEDIR))
}

// forbid has a system call of this thread fail with ENOSYS from now on.
func forbid(call uint32) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}

func TestEndedProcessIsAnError(t *testing.T) {
	p := start(t)
	if err := unix.Kill(p.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Round(); err == nil {
		t.Error("a round of a process that is gone is no error")
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p := start(b, "127.0.0.1:7001", "[::1]:7002")
		if _, err := p.Round(Conn{To: netip.MustParseAddrPort("127.0.0.1:7001")}); err != nil {
			b.Fatal(err)
		}
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
