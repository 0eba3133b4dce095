// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// namespaceAt returns the cookie of the namespace at path, and whether it is
// that of the host's first process.
func namespaceAt(step, path string) (cookie uint64, host bool, err error) {
	var ns unix.Stat_t
	if err := unix.Stat(path, &ns); err != nil {
		code := exit.NotReady
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			code = exit.NotUp
		}
		return 0, false, &exit.Error{Code: code, Step: step, Object: path, Err: err, Remedy: "name a network namespace that is there"}
	}
	a := askInside(path)
	switch err := a.err; {
	case errors.Is(err, unix.ENOPROTOOPT):
		return 0, false, notReady(step, path, errors.New("this kernel does not tell a namespace's cookie: Linux 5.14 does"),
			"enrol from inside the pod, by the control address (up --control-address on)")
	case errors.Is(err, unix.EINVAL):
		return 0, false, &exit.Error{Code: exit.Usage, Step: step, Object: path, Err: errors.New("not a network namespace")}
	case err != nil:
		return 0, false, notReady(step, path, err, "run it again")
	}
	first, err := procNet("/proc/1")
	if err != nil {
		return 0, false, notReady(step, "/proc/1/net", err, "run it where the host's first process is in sight")
	}
	return a.cookie, a.net == first, nil
}

// procNet identifies the network namespace of a process or thread by the inode
// of a file that each namespace has its own of. ns/net would name it directly, but
// to look at that of the first process takes every capability that it has.
func procNet(proc string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(proc+"/net/dev", &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// inside is what was learnt of a namespace from inside of it.
type inside struct {
	cookie uint64
	net    uint64 // as procNet
	err    error
}

func cookieAt(path string) (uint64, error) {
	a := askInside(path)
	return a.cookie, a.err
}

// askInside asks from inside of the namespace: a cookie is told of a socket only.
func askInside(path string) (a inside) {
	fd, err := openNamespace(path)
	if err != nil {
		return inside{err: err}
	}
	onOwnThread(func() {
		if a.err = unix.Setns(fd, unix.CLONE_NEWNET); a.err == nil {
			a.cookie, a.err = ownCookie()
		}
		if a.err == nil {
			a.net, a.err = procNet("/proc/thread-self")
		}
	})
	a.err = errors.Join(a.err, unix.Close(fd))
	return a
}

// openNamespace does not wait, as for the writer of a FIFO: setns says what is no namespace.
func openNamespace(path string) (fd int, err error) {
	return unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// onOwnThread runs do on a thread that ends with it, so that no other code can
// find itself in the namespace that do entered. The main thread never ends, and
// stands for the process in /proc/self: it is kept out.
func onOwnThread(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onOwnThread(do)
			runtime.UnlockOSThread()
			return
		}
		do() // and never unlocked
	}()
	<-done
}

// ownCookie is the cookie of the calling thread's network namespace.
func ownCookie() (uint64, error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make socket: %w", err)
	}
	c, err := cookieOption(s, unix.SO_NETNS_COOKIE)
	return c, errors.Join(err, unix.Close(s))
}

// cookieOption reads a socket option of 8 bytes in host byte order.
func cookieOption(fd, option int) (uint64, error) {
	var b [8]byte
	n := uint32(len(b))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n)), 0)
	if e != 0 {
		return 0, e
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}
