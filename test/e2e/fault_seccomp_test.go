// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A filter of system calls (seccomp) of a child hands the calls that the loader lives on
// to the test, which lets them be made or answers in the kernel's place.

// injector answers one system call of a command with an error.
type injector struct {
	// call is which, as a label has it, and nth how often it was made by then, from 1.
	call  string
	nth   int
	errno unix.Errno
	every bool // each of these calls, not the nth
	// instead is done before the call is let be made, in place of an answer.
	instead func() error

	calls []string // the labels of all that were made
	done  bool     // the call was answered
}

// seccompNotif is struct seccomp_notif of the kernel.
type seccompNotif struct {
	id    uint64
	tid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// seccompAnswer is struct seccomp_notif_resp.
type seccompAnswer struct {
	id    uint64
	val   int64
	error int32
	flags uint32
}

const (
	seccompReceive  = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	seccompSend     = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	seccompContinue = 1          // SECCOMP_USER_NOTIF_FLAG_CONTINUE

	setModeFilter   = 1      // SECCOMP_SET_MODE_FILTER
	flagNewListener = 1 << 3 // SECCOMP_FILTER_FLAG_NEW_LISTENER
	returnNotify    = 0x7fc00000
	returnAllow     = 0x7fff0000
	offsetOfNr      = 0
)

// offsetOfArg is where the low half of an argument of a system call is in seccomp_data.
func offsetOfArg(i uint32) uint32 { return 16 + 8*i }

// watched are the system calls that are asked about.
var watched = []uint32{
	unix.SYS_BPF, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT,
	unix.SYS_RENAMEAT2, unix.SYS_OPENAT, unix.SYS_PERF_EVENT_OPEN, unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_FLOCK, unix.SYS_SOCKET,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FTRUNCATE, unix.SYS_PWRITE64, unix.SYS_SENDTO,
	unix.SYS_GETSOCKOPT, unix.SYS_STATFS, unix.SYS_NEWFSTATAT, unix.SYS_GETDENTS64, unix.SYS_MEMBARRIER,
}

// callFilter is the program of the filter: watched calls, fcntl that copies descriptors, and
// mmap of files are asked about.
func callFilter() []unix.SockFilter {
	const load, equal, set, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K,
		unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	prog := []unix.SockFilter{{Code: load, K: offsetOfNr}}
	for _, nr := range watched {
		prog = append(prog, unix.SockFilter{Code: equal, Jf: 1, K: nr}, unix.SockFilter{Code: ret, K: returnNotify})
	}
	return append(prog,
		unix.SockFilter{Code: equal, Jf: 4, K: unix.SYS_FCNTL},
		unix.SockFilter{Code: load, K: offsetOfArg(1)},
		unix.SockFilter{Code: equal, Jf: 1, K: unix.F_DUPFD_CLOEXEC},
		unix.SockFilter{Code: ret, K: returnNotify},
		unix.SockFilter{Code: ret, K: returnAllow},
		unix.SockFilter{Code: equal, Jf: 3, K: unix.SYS_MMAP},
		unix.SockFilter{Code: load, K: offsetOfArg(3)},
		unix.SockFilter{Code: set, Jt: 1, K: unix.MAP_ANONYMOUS},
		unix.SockFilter{Code: ret, K: returnNotify},
		unix.SockFilter{Code: ret, K: returnAllow})
}

// run runs cmd, and answers the call in question.
func (in *injector) run(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	type started struct {
		r   result
		err error
	}
	got := make(chan started)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	go func() {
		runtime.LockOSThread() // never unlocked: the filter stays with the thread
		listener, err := listen()
		if err != nil {
			got <- started{err: err}
			return
		}
		stop, wake := make(chan error, 1), [2]int{}
		if err := unix.Pipe2(wake[:], unix.O_CLOEXEC); err != nil {
			got <- started{err: errors.Join(err, unix.Close(listener))}
			return
		}
		own := unix.Gettid()
		go func() { stop <- in.answer(listener, wake[0], uint32(own)) }()
		err = cmd.Run()
		err = errors.Join(unix.Close(wake[1]), <-stop, unix.Close(wake[0]), unix.Close(listener), notFailed(err))
		got <- started{result{args: cmd.Args[1:], out: out.String(), err: errs.String()}, err}
	}()
	s := <-got
	if s.err != nil {
		t.Fatalf("run %s: %v", cmd, s.err)
	}
	s.r.code = cmd.ProcessState.ExitCode()
	return s.r
}

// notFailed leaves out that a command ended with another code than 0.
func notFailed(err error) error {
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return nil
	}
	return err
}

// listen puts the filter on this thread.
func listen() (int, error) {
	prog := callFilter()
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, setModeFilter, flagNewListener, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return -1, fmt.Errorf("filter system calls: %w", errno)
	}
	unix.CloseOnExec(int(fd))
	return int(fd), nil
}

// answer answers calls until wake is closed at its other end.
func (in *injector) answer(listener, wake int, own uint32) error {
	times := map[string]int{}
	for {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}, {Fd: int32(wake)}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for system calls: %w", err)
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			if fds[1].Revents != 0 {
				return nil
			}
			continue
		}
		var n seccompNotif
		if err := ioctl(listener, seccompReceive, unsafe.Pointer(&n)); err != nil {
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
				continue // it was killed by then
			}
			return fmt.Errorf("receive system call: %w", err)
		}
		answer := seccompAnswer{id: n.id, flags: seccompContinue}
		if label := n.label(); n.tid != own && label != "" {
			in.calls = append(in.calls, label)
			times[label]++
			if in.every && strings.HasPrefix(label, in.call) || label == in.call && times[label] == in.nth {
				in.done = true
				if in.instead == nil {
					answer.flags, answer.error = 0, -int32(in.errno)
				} else if err := in.instead(); err != nil {
					return err
				}
			}
		}
		if err := ioctl(listener, seccompSend, unsafe.Pointer(&answer)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("answer system call: %w", err)
		}
	}
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// label names a call and what it is about, as far as that is the same each time; ""
// for calls that are not the loader's.
func (n *seccompNotif) label() string {
	if n.nr == unix.SYS_BPF {
		return n.bpfLabel()
	}
	if c, ok := pathCalls[n.nr]; ok {
		return pathLabel(c.name, n.text(n.args[c.path]))
	}
	return callNames[n.nr]
}

// pathCalls are calls about the path that the argument of that number points to.
var pathCalls = map[int32]struct {
	name string
	path int
}{
	unix.SYS_OPENAT: {"open", 1}, unix.SYS_NEWFSTATAT: {"stat", 1}, unix.SYS_MKDIRAT: {"mkdir", 1}, unix.SYS_UNLINKAT: {"unlink", 1},
	unix.SYS_RENAMEAT: {"rename", 3}, unix.SYS_RENAMEAT2: {"rename", 3}, unix.SYS_STATFS: {"statfs", 0}, unix.SYS_MOUNT: {"mount", 1},
	unix.SYS_UMOUNT2: {"umount", 0},
}

var callNames = map[int32]string{
	unix.SYS_PERF_EVENT_OPEN: "perf_event_open", unix.SYS_SETNS: "setns", unix.SYS_UNSHARE: "unshare", unix.SYS_FLOCK: "flock", unix.SYS_SOCKET: "socket",
	unix.SYS_FSOPEN: "fsopen", unix.SYS_FSCONFIG: "fsconfig", unix.SYS_FSMOUNT: "fsmount", unix.SYS_FTRUNCATE: "ftruncate",
	unix.SYS_PWRITE64: "pwrite", unix.SYS_SENDTO: "sendto", unix.SYS_GETSOCKOPT: "getsockopt", unix.SYS_GETDENTS64: "getdents",
	unix.SYS_MEMBARRIER: "membarrier", unix.SYS_FCNTL: "dup", unix.SYS_MMAP: "mmap",
}

// notOurs begins what the runtimes of Go and C look at by themselves.
var notOurs = []string{"/sys/kernel/mm/", "/etc/", "/usr/", "/lib", "/dev/null", "/proc/sys/", "/sys/devices/system/cpu/online", "/proc/self/exe"}

// pathLabel is call and the last part of path.
func pathLabel(call, path string) string {
	for _, p := range notOurs {
		if strings.HasPrefix(path, p) {
			return ""
		}
	}
	for _, dir := range []string{"/kmesh_node", "/run/kmesh-node/"} {
		if _, in, ok := strings.Cut(path, dir); ok {
			return call + " " + stable(in)
		}
	}
	if strings.HasPrefix(path, "/proc/") {
		return call + " /proc"
	}
	return call + " " + stable(path)
}

// stable leaves numbers and the test's directory out of a path.
func stable(path string) string {
	if i := strings.LastIndex(path, "%2F"); i >= 0 {
		path = path[i+3:]
	}
	if i := strings.Index(path, "/001/"); i >= 0 {
		path = path[i+5:]
	}
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '0'
		}
		return r
	}, path)
}

var bpfNames = map[uint64]string{
	unix.BPF_MAP_CREATE: "MAP_CREATE", unix.BPF_MAP_LOOKUP_ELEM: "MAP_LOOKUP_ELEM", unix.BPF_MAP_UPDATE_ELEM: "MAP_UPDATE_ELEM",
	unix.BPF_MAP_DELETE_ELEM: "MAP_DELETE_ELEM", unix.BPF_MAP_GET_NEXT_KEY: "MAP_GET_NEXT_KEY", unix.BPF_PROG_LOAD: "PROG_LOAD",
	unix.BPF_OBJ_PIN: "OBJ_PIN", unix.BPF_OBJ_GET: "OBJ_GET", unix.BPF_PROG_ATTACH: "PROG_ATTACH", unix.BPF_PROG_DETACH: "PROG_DETACH",
	unix.BPF_PROG_GET_FD_BY_ID: "PROG_GET_FD_BY_ID", unix.BPF_MAP_GET_FD_BY_ID: "MAP_GET_FD_BY_ID", unix.BPF_OBJ_GET_INFO_BY_FD: "OBJ_GET_INFO_BY_FD",
	unix.BPF_PROG_QUERY: "PROG_QUERY", unix.BPF_RAW_TRACEPOINT_OPEN: "RAW_TRACEPOINT_OPEN", unix.BPF_BTF_LOAD: "BTF_LOAD",
	unix.BPF_BTF_GET_FD_BY_ID: "BTF_GET_FD_BY_ID", unix.BPF_BTF_GET_NEXT_ID: "BTF_GET_NEXT_ID", unix.BPF_MAP_UPDATE_BATCH: "MAP_UPDATE_BATCH",
	unix.BPF_MAP_DELETE_BATCH: "MAP_DELETE_BATCH", unix.BPF_MAP_LOOKUP_BATCH: "MAP_LOOKUP_BATCH", unix.BPF_LINK_CREATE: "LINK_CREATE",
	unix.BPF_LINK_UPDATE: "LINK_UPDATE", unix.BPF_LINK_GET_FD_BY_ID: "LINK_GET_FD_BY_ID", unix.BPF_LINK_DETACH: "LINK_DETACH",
	unix.BPF_MAP_FREEZE: "MAP_FREEZE", unix.BPF_PROG_TEST_RUN: "PROG_TEST_RUN", unix.BPF_PROG_BIND_MAP: "PROG_BIND_MAP",
	unix.BPF_LINK_GET_NEXT_ID: "LINK_GET_NEXT_ID", unix.BPF_PROG_GET_NEXT_ID: "PROG_GET_NEXT_ID", unix.BPF_MAP_GET_NEXT_ID: "MAP_GET_NEXT_ID",
	unix.BPF_TASK_FD_QUERY: "TASK_FD_QUERY", unix.BPF_ENABLE_STATS: "ENABLE_STATS", 36: "TOKEN_CREATE",
}

func (n *seccompNotif) bpfLabel() string {
	name := bpfNames[n.args[0]]
	if name == "" {
		name = fmt.Sprintf("command %d", n.args[0])
	}
	switch attr := n.args[1]; n.args[0] {
	case unix.BPF_OBJ_PIN, unix.BPF_OBJ_GET:
		var path [8]byte
		if n.read(attr, path[:]) {
			return pathLabel("bpf "+name, n.text(*(*uint64)(unsafe.Pointer(&path[0]))))
		}
	case unix.BPF_PROG_LOAD:
		return "bpf " + name + " " + n.name(attr+48)
	case unix.BPF_MAP_CREATE:
		return "bpf " + name + " " + n.name(attr+28)
	}
	return "bpf " + name
}

// name reads a name of an object.
func (n *seccompNotif) name(at uint64) string {
	var b [16]byte
	if !n.read(at, b[:]) {
		return ""
	}
	return unix.ByteSliceToString(b[:])
}

// text reads a path of the process; it may end before a page does.
func (n *seccompNotif) text(at uint64) string {
	var b []byte
	for len(b) < unix.PathMax {
		chunk := make([]byte, 256-at%256)
		if !n.read(at, chunk) {
			break
		}
		if i := bytes.IndexByte(chunk, 0); i >= 0 {
			return string(append(b, chunk[:i]...))
		}
		b, at = append(b, chunk...), at+uint64(len(chunk))
	}
	return string(b)
}

func (n *seccompNotif) read(at uint64, into []byte) bool {
	local := []unix.Iovec{{Base: &into[0]}}
	local[0].SetLen(len(into))
	got, err := unix.ProcessVMReadv(int(n.tid), local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(into)}}, 0)
	return err == nil && got == len(into)
}
