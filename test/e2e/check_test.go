// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// finding is one of check's.
type finding struct {
	Name, Detail, Remedy string
	OK, Required         bool
}

// check runs check under a command that changes what it finds, and returns the finding
// whose name begins so.
func (n *node) check(code int, name string, wrapper []string, flags ...string) finding {
	n.t.Helper()
	cmd := n.command(append([]string{"check", "-o", "json"}, flags...)...)
	if len(wrapper) > 0 {
		path, err := exec.LookPath(wrapper[0])
		if err != nil {
			n.t.Fatal(err)
		}
		cmd.Args, cmd.Path = append(append([]string{}, wrapper...), cmd.Args...), path
	}
	r := wantExit(n.t, code, runCommand(n.t, cmd))
	var report struct{ Findings []finding }
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		n.t.Fatalf("%v\nnot JSON: %v", r, err)
	}
	for _, f := range report.Findings {
		if f.OK == (f.Remedy != "") {
			n.t.Errorf("a remedy goes with what is wrong: %+v", f)
		}
	}
	for _, f := range report.Findings {
		if strings.HasPrefix(f.Name, name) {
			return f
		}
	}
	n.t.Fatalf("%v\nhas no finding %s", r, name)
	return finding{}
}

func TestCheckFindsMissingCapabilitiesOneByOne(t *testing.T) {
	n := newNode(t)
	for _, c := range []string{"sys_admin", "net_admin"} {
		f := n.check(exitNotReady, "capability CAP_"+strings.ToUpper(c), []string{"setpriv", "--bounding-set", "-" + c})
		if f.OK || !f.Required {
			t.Errorf("without %s: %+v", c, f)
		}
	}
	if f := n.check(exitDone, "capability CAP_SYS_PTRACE", []string{"setpriv", "--bounding-set", "-sys_ptrace"}); f.OK || f.Required {
		t.Errorf("without sys_ptrace: %+v", f)
	}
}

func TestCheckFindsABpffsThatDiesWithItsNamespace(t *testing.T) {
	n := newNode(t)
	if f := n.check(exitDone, "lifetime of", nil); !f.OK {
		t.Errorf("a bpffs of this namespace: %+v", f)
	}
	own := filepath.Join(n.dir, "own")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	inside := func(do string) []string {
		return []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", do + ` exec "$@"`, "sh"}
	}
	f := elsewhere(n, own, "").check(exitDone, "lifetime of", inside("mount -t bpf none "+own+" &&"))
	if f.OK || !strings.Contains(f.Detail, "own mount namespace alone") {
		t.Errorf("a bpffs of another namespace: %+v", f)
	}
	f = elsewhere(n, own, "").check(exitDone, "lifetime of", inside(""))
	if f.OK || !strings.Contains(f.Detail, "would mount") {
		t.Errorf("no bpffs in another namespace: %+v", f)
	}
	if f := elsewhere(n, own, "").check(exitDone, "lifetime of", nil); !f.OK {
		t.Errorf("no bpffs in this namespace: %+v", f)
	}
}

// With as many descriptors as check asks for up works, also where it replaces another.
func TestCheckKnowsHowManyDescriptorsUpTakes(t *testing.T) {
	for _, mode := range []string{"ads", "workload"} {
		t.Run(mode, func(t *testing.T) {
			n := newNodeOf(t, mode)
			few := []string{"prlimit", "--nofile=40:40"}
			f := n.check(exitNotReady, "RLIMIT_NOFILE", few)
			if f.OK || !f.Required {
				t.Errorf("with 40 descriptors: %+v", f)
			}
			var need int
			if _, err := fmt.Sscanf(f.Remedy, "run: ulimit -n %d", &need); err != nil {
				t.Fatalf("remedy %q: %v", f.Remedy, err)
			}
			limit := fmt.Sprintf("--nofile=%d:%d", need, need)
			if f := n.check(exitDone, "RLIMIT_NOFILE", []string{"prlimit", limit}); !f.OK {
				t.Errorf("with what it asked for: %+v", f)
			}
			flags := map[string][]string{"ads": {"--connect-ret", "off"}, "workload": {"--flow-entries", "4096"}}[mode]
			for _, flags := range [][]string{nil, flags, nil} {
				cmd := n.command(append([]string{"up"}, flags...)...)
				path, err := exec.LookPath("prlimit")
				if err != nil {
					t.Fatal(err)
				}
				cmd.Args, cmd.Path = append([]string{"prlimit", limit}, cmd.Args...), path
				wantExit(t, exitDone, runCommand(t, cmd))
			}
		})
	}
}

func TestCheckComparesMemoryWithTheCgroupsLimit(t *testing.T) {
	n := newNodeOf(t, "workload")
	if f := n.check(exitDone, "memory", nil); !f.OK {
		t.Errorf("without a limit: %+v", f)
	}
	dir, file := memoryGroup(t)
	if err := os.WriteFile(filepath.Join(dir, file), []byte("256M"), 0); err != nil {
		t.Fatal(err)
	}
	inside := []string{"sh", "-c", `echo $$ >` + dir + `/cgroup.procs && exec "$@"`, "sh"}
	if f := n.check(exitDone, "memory", inside); !f.OK {
		t.Errorf("with 256 MiB: %+v", f)
	}
	f := n.check(exitDone, "memory", inside, "--flow-entries", fmt.Sprint(1<<23))
	if f.OK || !strings.Contains(f.Remedy, file) {
		t.Errorf("8 million flows with 256 MiB: %+v", f)
	}
}

// memoryGroup makes a cgroup whose memory can be limited, and returns the limit's file.
func memoryGroup(t *testing.T) (dir, file string) {
	t.Helper()
	mounts, err := readMounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		for _, file := range []string{"memory.limit_in_bytes", "memory.max"} {
			dir := filepath.Join(m.point, fmt.Sprintf("kmesh-e2e-check-%d", os.Getpid()))
			if m.fsType != "cgroup" && m.fsType != "cgroup2" || os.Mkdir(dir, 0o755) != nil {
				continue
			}
			if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
				t.Cleanup(func() {
					if err := eventually(func() error { return os.Remove(dir) }); err != nil {
						t.Error(err)
					}
				})
				return dir, file
			}
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Skip("no cgroup with a limit of memory can be made here")
	return "", ""
}

// withBTFOf runs kmesh-node where the kernel's type information is hidden, with --btf.
func (n *node) withBTFOf(file string, args ...string) result {
	n.t.Helper()
	return n.withoutBTF(append(args, "--btf", file)...)
}

func TestBTFOfAFileWillDo(t *testing.T) {
	btf := filepath.Join(t.TempDir(), "vmlinux")
	data, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(btf, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("ads", func(t *testing.T) {
		n := newNode(t)
		r := wantExit(t, exitDone, n.withBTFOf(btf, "up"))
		if !contains(r.err, "results of connects are not learnt") {
			t.Errorf("%v\ndoes not say what is missing", r)
		}
		p := newPod(t)
		p.serve(service, epA1)
		n.enroll(p)
		n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
		wantReach(t, p.client(0), service, epA1)
		wantExit(t, exitDone, n.withBTFOf(btf, "check", "--verify"))
		wantExit(t, exitDone, n.withBTFOf(btf, "up", "--connect-ret", "sys_exit_connect"))
		wantReach(t, p.client(0), service, epA1)
	})
	t.Run("workload", func(t *testing.T) {
		m := &mesh{newNodeOf(t, "workload"), newFabric(t)}
		wantExit(t, exitDone, m.withBTFOf(btf, "up"))
		m.backends()
		m.apply(wds(serviceA(), a1()))
		wantReach(t, m.enrolled(clientIP).client(0), vipA, at(ip1, 8080))
	})
	n := newNode(t)
	data[len(data)/2] ^= 1
	if err := os.WriteFile(btf, data, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, exitNotReady, n.withBTFOf(btf, "up"), btf, "another kernel")
	refused(t, exitNotReady, n.run("up", "--btf", "/nowhere"), "/nowhere", unix.ENOENT.Error())
}
