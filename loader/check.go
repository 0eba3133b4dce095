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

// Finding is one line of a Report. Remedy is set where OK is not.
type Finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
	// Required: without it `up` fails.
	Required bool `json:"required"`
}

// Report says what this host can do.
type Report struct {
	Findings []Finding       `json:"findings"`
	Programs []ProgramStatus `json:"programs,omitempty"` // with verify: what the verifier said
}

// Ready returns nil, or an *exit.Error that names the first required thing
// that is missing; the rest is in the findings.
func (r *Report) Ready() error {
	var missing []string
	var first *Finding
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Required && !f.OK {
			missing = append(missing, f.Name)
			if first == nil {
				first = f
			}
		}
	}
	if first == nil {
		return nil
	}
	return &exit.Error{Code: exit.NotReady, Step: "check", Object: strings.Join(missing, ", "),
		Err: errors.New(first.Detail), Remedy: first.Remedy}
}

// Check looks at the host and changes nothing. With verify it also puts every
// program of the table, of all variants, through the verifier and attaches none;
// its error then is the first rejection.
func Check(cfg *Config, verify bool) (*Report, error) {
	r := &Report{}
	r.kernel()
	r.capabilities()
	r.btf()
	r.filesystem(bpffs, cfg.BpfFsPath)
	r.filesystem(cgroup2, cfg.Cgroup2Path)
	r.jit()
	if capable() == nil {
		r.features()
	}
	if err := r.Ready(); err != nil || !verify {
		return r, err
	}
	var err error
	r.Programs, err = verifyAll(cfg)
	return r, err
}

func (r *Report) add(f Finding) { r.Findings = append(r.Findings, f) }

func (r *Report) kernel() {
	var u unix.Utsname
	f := Finding{Name: "kernel", Required: true, Remedy: "run Linux 5.10 or newer"}
	if err := unix.Uname(&u); err != nil {
		f.Detail = err.Error()
		r.add(f)
		return
	}
	var major, minor int
	f.Detail = unix.ByteSliceToString(u.Release[:])
	if n, err := fmt.Sscanf(f.Detail, "%d.%d", &major, &minor); n == 2 && err == nil && (major > 5 || major == 5 && minor >= 10) {
		f.OK, f.Remedy = true, ""
	}
	r.add(f)
}

func (r *Report) capabilities() {
	f := Finding{Name: "capabilities", Required: true, OK: true, Detail: "CAP_SYS_ADMIN, CAP_NET_ADMIN"}
	var e *exit.Error
	if err := capable(); errors.As(err, &e) {
		f.OK, f.Detail, f.Remedy = false, e.Object+": "+e.Err.Error(), e.Remedy
	}
	r.add(f)
}

func (r *Report) btf() {
	f := Finding{Name: "BTF", Required: true, OK: true, Detail: vmlinuxBTF}
	patched, err := kernelHasTypedef(connectRetTypedef)
	if err != nil {
		f.OK, f.Detail, f.Remedy = false, err.Error(), remedyBTF
	}
	r.add(f)
	if err == nil {
		g := Finding{Name: "connect_ret tracepoint", OK: true, Detail: "present: deferred connects are supported"}
		if !patched {
			g.Detail = "absent: inet_sock_set_state is used instead"
		}
		r.add(g)
	}
}

func (r *Report) filesystem(fs filesystem, path string) {
	f := Finding{Name: fs.name + " at " + path, Required: true, OK: true, Detail: "mounted"}
	there, err := fs.check(path)
	var e *exit.Error
	switch {
	case errors.As(err, &e):
		f.OK, f.Detail, f.Remedy = false, e.Err.Error(), e.Remedy
	case !there:
		f.Detail = "not mounted: `up` mounts it"
	}
	r.add(f)
}

func (r *Report) jit() {
	b, err := os.ReadFile("/proc/sys/net/core/bpf_jit_enable")
	v := strings.TrimSpace(string(b))
	f := Finding{Name: "JIT", OK: err == nil && v != "0", Detail: "net.core.bpf_jit_enable = " + v}
	if err != nil {
		f.Detail = err.Error()
	}
	if !f.OK {
		f.Remedy = "run: sysctl net.core.bpf_jit_enable=1; programs are interpreted, and slow, without it"
	}
	r.add(f)
}

// features asks the kernel by trying: what the loader and the programs rest on.
func (r *Report) features() {
	for _, p := range []struct {
		name, needs, remedy string
		required            bool
		try                 func() error
	}{
		{"mmapable array maps", "5.5", "run Linux 5.10 or newer", true, probeMmapable},
		{"links on cgroups", "5.7", "run Linux 5.10 or newer", true, probeCgroupLink},
		{"netns cookie of a socket", "5.14", "enrol from inside the pod, by the control address (up --control-address on)", false, probeNetnsCookie},
	} {
		f := Finding{Name: p.name, OK: true, Detail: "present", Required: p.required}
		if err := p.try(); err != nil {
			f.OK, f.Detail, f.Remedy = false, fmt.Sprintf("absent (Linux %s has it): %v", p.needs, err), p.remedy
		}
		r.add(f)
	}
}

func probeMmapable() error {
	fd, err := mapCreate("kmesh_probe", mapTypeArray, 4, 8, 1, mapMmapable)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// probeCgroupLink asks for a link of no program: a kernel that knows links
// refuses the descriptor (EBADF), another the command (EINVAL).
func probeCgroupLink() error {
	fd, err := linkCreate(-1, -1, cgroupConnect4)
	if errors.Is(err, unix.EBADF) {
		return nil
	}
	if err == nil {
		return unix.Close(fd)
	}
	return err
}

func probeNetnsCookie() error {
	_, err := ownCookie()
	return err
}

// verifyAll loads every program of every mode, over maps of its own that go away again.
func verifyAll(cfg *Config) ([]ProgramStatus, error) {
	var out []ProgramStatus
	for _, m := range modes {
		l, err := verifyMode(cfg.withMode(m))
		if err != nil {
			return nil, err
		}
		out = append(out, l...)
	}
	return out, nil
}

func verifyMode(cfg *Config) (out []ProgramStatus, err error) {
	rows := programsOf(cfg.Mode)
	k := &node{Handles: Handles{cfg: cfg}, t: cfg.tree(), log: cfg.Log, rows: rows, recordFd: -1}
	fds := map[string]int{}
	defer k.Close()
	for _, name := range objects(cfg.Mode, rows) {
		o, err := openObject(cfg, name, rows)
		if err != nil {
			return nil, err
		}
		k.objs = append(k.objs, o)
		for _, m := range sorted(o.maps) {
			if fd, ok := fds[m]; ok {
				if err := o.reuse(m, fd); err != nil {
					return nil, loadError("load object", name, err, "build kmesh-node again")
				}
			}
		}
		if err := o.load(cfg.RunDir); err != nil {
			return nil, err
		}
		for m, b := range o.maps {
			if _, ok := fds[m]; !ok {
				fds[m] = b.FileDescriptor()
			}
		}
	}
	for _, r := range rows {
		for _, o := range k.objs {
			p := o.progs[r.name]
			if p == nil {
				continue
			}
			info, err := progInfoOf(p.FileDescriptor())
			if err != nil {
				return nil, fmt.Errorf("program %s: %w", r.name, err)
			}
			out = append(out, ProgramStatus{Mode: cfg.Mode, Name: r.name, ID: info.ID, Tag: fmt.Sprintf("%x", info.Tag), Hook: r.hook.String(), Verified: info.Verified})
		}
	}
	return out, nil
}
