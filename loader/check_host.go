// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

func (r *Report) kernel() {
	var u unix.Utsname
	f := Finding{Name: "kernel", Required: true, Remedy: "run Linux 5.10 or newer"}
	if err := unix.Uname(&u); err != nil {
		f.Detail = err.Error()
		r.add(f)
		return
	}
	f.Detail = unix.ByteSliceToString(u.Release[:])
	if newEnough(f.Detail) {
		f.OK, f.Remedy = true, ""
	} else {
		f.Detail += " is too old: links on cgroups, ring buffers and more are missing, and nothing was tried on it"
	}
	r.add(f)
}

// newEnough says whether a release is one that kmesh-node runs on.
func newEnough(release string) bool { return atLeast(release, 5, 10) }

func atLeast(release string, major, minor int) bool {
	var a, b int
	n, err := fmt.Sscanf(release, "%d.%d", &a, &b)
	return n == 2 && err == nil && (a > major || a == major && b >= minor)
}

// capabilities looks at them one by one.
func (r *Report) capabilities() {
	have, err := effectiveCaps()
	if err != nil {
		r.add(Finding{Name: "capabilities", Required: true, Detail: err.Error(), Remedy: "mount /proc"})
		return
	}
	for _, c := range needed {
		f := Finding{Name: "capability " + c.name, Required: true, OK: have&(1<<c.bit) != 0, Detail: "present", For: c.why}
		if !f.OK {
			f.Detail, f.Remedy = "this process lacks the capability", remedyCaps
		}
		r.add(f)
	}
	for _, c := range helpful {
		f := Finding{Name: "capability " + c.name, OK: have&(1<<c.bit) != 0, Detail: "present", For: c.why}
		if !f.OK {
			f.Detail, f.Remedy = "this process lacks the capability", c.remedy
		}
		r.add(f)
	}
	if inUserNamespace() {
		r.add(Finding{Name: "user namespace", Required: true, Remedy: "run it in the host's",
			Detail: "this process is in one of its own, whose capabilities do not reach BPF"})
	}
}

// lockdown says what of the kernel is shut, and what that leaves out.
func (r *Report) lockdown(cfg *Config) {
	f := Finding{Name: "lockdown", OK: true}
	switch state, err := lockdown(); {
	case err != nil:
		f.Detail = "not told: " + err.Error()
	case state == confidentiality && cfg.Mode == Ads && cfg.ConnectRet == ConnectRetSysExit:
		f.OK, f.Detail = false, state+": tracefs is shut, which sys_exit_connect is found by"
		f.Remedy = "use --connect-ret auto or off, or boot with lockdown=integrity"
	case state == confidentiality:
		f.Detail = state + ": of what kmesh-node does only --connect-ret sys_exit_connect is shut"
	default:
		f.Detail = state
	}
	r.add(f)
}

// lockdownState reads "none [integrity] confidentiality".
func lockdownState(s string) string {
	if _, rest, ok := strings.Cut(s, "["); ok {
		if state, _, ok := strings.Cut(rest, "]"); ok {
			return state
		}
	}
	return "unknown: " + strings.TrimSpace(s)
}

func (r *Report) btf(cfg *Config) {
	f := Finding{Name: "BTF", Required: true, OK: true, Detail: cfg.btfPath(), For: "fitting the programs to this kernel"}
	var e *exit.Error
	if err := cfg.checkBTF(); errors.As(err, &e) {
		f.OK, f.Detail, f.Remedy = false, e.Err.Error(), e.Remedy
		r.add(f)
		return
	}
	r.add(f)
	g := Finding{Name: "connect_ret tracepoint", OK: true, For: "ads: results of connects",
		Detail: "present: deferred connects are supported"}
	patched, err := kernelHasTypedef(cfg.btfPath(), connectRetTypedef)
	switch {
	case err != nil:
		g.OK, g.Detail, g.Remedy = false, err.Error(), remedyBTF
	case !patched && hasKernelBTF():
		g.Detail = "absent: inet_sock_set_state is used instead"
	case !patched:
		g.OK, g.Detail = false, "absent, and to attach to inet_sock_set_state in its place takes "+vmlinuxBTF
		g.Remedy = "use --connect-ret " + ConnectRetSysExit + "; results of connects are not learnt else"
	}
	r.add(g)
}

// hostNetwork says whether this thread is in the network namespace of the host's first one.
func hostNetwork() bool {
	own, err := procNet("/proc/thread-self")
	first, err1 := procNet("/proc/1")
	return err == nil && err1 == nil && own == first
}

func (r *Report) jit() {
	b, err := os.ReadFile("/proc/sys/net/core/bpf_jit_enable")
	v := strings.TrimSpace(string(b))
	f := Finding{Name: "JIT", OK: err == nil && v != "0", Detail: "net.core.bpf_jit_enable = " + v}
	switch {
	case errors.Is(err, os.ErrNotExist) && !hostNetwork():
		f.OK, f.Detail = true, "not told: net.core.bpf_jit_enable is in sight in the host's network namespace alone"
	case errors.Is(err, os.ErrNotExist):
		f.Detail = "this kernel has none"
	case err != nil:
		f.Detail = err.Error()
	}
	if !f.OK {
		f.Remedy = "run: sysctl net.core.bpf_jit_enable=1; programs are interpreted, and slow, without it"
	}
	r.add(f)
}
