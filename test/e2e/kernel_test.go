// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What differs between kernels, on one host of each mode: `make test-vm` runs these
// tests on many kernels, whose machines are emulated and slow. Their subtests build
// on one another and are the rows of docs/kernels.md; one that the kernel cannot
// pass is skipped for a reason that is the kernel's own word, not kmesh-node's.

// rows are subtests, in order.
type rows []struct {
	name string
	test func(t *testing.T)
}

func (r rows) run(t *testing.T) {
	for _, x := range r {
		t.Run(x.name, x.test)
	}
}

// tellsCookies says whether this kernel tells a namespace's cookie to whoever asks.
func tellsCookies(t testing.TB) bool {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		t.Fatal(err)
	}
	return err == nil
}

// lacks skips what this kernel cannot do; why is a note of the table.
func lacks(t testing.TB, why string) {
	t.Helper()
	t.Skip("lacks: " + why)
}

func needsCookies(t testing.TB) {
	t.Helper()
	if !tellsCookies(t) {
		lacks(t, "Before Linux 5.14 nobody outside of BPF learns a namespace's cookie: pods enrol by the control address, and have no xdpauth.")
	}
}

// before says whether the kernel is older than this version.
func before(t testing.TB, major, minor int) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var a, b int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); err != nil {
		t.Fatal(err)
	}
	return a < major || a == major && b < minor
}

const controlled = "operation not permitted"

// manage takes the pod under management in the way that the kernel has for it.
// The control address must be on.
func (n *node) manage(p *pod) {
	n.t.Helper()
	if tellsCookies(n.t) {
		n.enroll(p)
		return
	}
	wantReach(n.t, p.client(0), "0.0.0.2:929", controlled)
}

// littleMemory runs kmesh-node where it may lock 64 KiB of memory and no more.
func (n *node) littleMemory(args ...string) (r result) {
	n.t.Helper()
	cmd := n.command(args...)
	cmd.Args = append([]string{"sh", "-c", `ulimit -l 64 && exec "$@"`, "sh"}, cmd.Args...)
	cmd.Path = "/bin/sh"
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: it lacks the capability from here on
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_RESOURCE, 0, 0, 0); err != nil {
			n.t.Errorf("drop CAP_SYS_RESOURCE: %v", err)
			return
		}
		r = runCommand(n.t, cmd)
	}()
	<-done
	return r
}

// heldBy says what keeps a program attached.
func (n *node) heldBy(program string) string {
	n.t.Helper()
	var s struct{ Links []struct{ Name, Type string } }
	n.query(&s, "status")
	for _, l := range s.Links {
		if l.Name == program && l.Type != "no link" {
			return "a link"
		}
	}
	return "its map"
}

// below returns a host that attaches to a cgroup below the one that this process is in,
// and takes the process there.
func below(t *testing.T) *node {
	t.Helper()
	n := newNode(t)
	n.cg = filepath.Join(cgroupPath, "below")
	if err := os.Mkdir(n.cg, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(moveTo(cgroupPath), os.Remove(n.cg)); err != nil {
			t.Error(err)
		}
	})
	// Cleanups run last to first: down before its cgroup goes.
	t.Cleanup(func() { n.want(exitDone, "down") })
	if err := moveTo(n.cg); err != nil {
		t.Fatal(err)
	}
	return n
}

// marksSockets says whether cgroup v1 has been told to mark sockets, as test/vm/init.sh does
// on hybrid machines.
func marksSockets(t testing.TB) bool {
	t.Helper()
	text, err := os.ReadFile("/sys/fs/cgroup/net_cls,net_prio/some/net_cls.classid")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text)) == "65537"
}

// note is a line of the table that is no test.
func note(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Logf("note: "+format, args...)
}

func TestKernel(t *testing.T) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	note(t, "release = %s", unix.ByteSliceToString(u.Release[:]))
	list, err := cpus()
	if err != nil {
		t.Fatal(err)
	}
	note(t, "processors = %d", len(list))
	note(t, "preemption = %s", preemption(unix.ByteSliceToString(u.Version[:])))
	note(t, "lockdown = %s", lockdown())
	n := newNode(t)
	rows{
		{"check finds the host able", func(t *testing.T) { n.in(t).want(exitDone, "check") }},
		{"every program of both modes passes the verifier", func(t *testing.T) { n.in(t).want(exitDone, "check", "--verify") }},
	}.run(t)
}

func preemption(version string) string {
	if strings.Contains(version, "PREEMPT_RT") {
		return "real time"
	}
	return "usual"
}

// lockdown returns what the kernel has marked as chosen: "none [integrity] …".
func lockdown() string {
	data, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil {
		return "none"
	}
	_, after, _ := strings.Cut(string(data), "[")
	mode, _, _ := strings.Cut(after, "]")
	return mode
}

func TestKernelAdsMode(t *testing.T) {
	n := newNode(t)
	p, other := newPod(t), newPod(t)
	for _, x := range []*pod{p, other} {
		x.serve(service, service6, epA1, epA2, epB1, six1, six2)
		x.addresses(bad1)
	}
	c, oc := p.client(0), other.client(0)
	host, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	flags := []string{"--control-address", "on", "--outlier-backoff", "1h", "--outlier-backoff-max", "1h"}
	up := func(t *testing.T, more ...string) {
		t.Helper()
		n.in(t).up(append(slices.Clone(flags), more...)...)
	}
	conf := []doc{cds(static("a", epA1, epA2), static("six", six1, six2)),
		lds(listener(service, toCluster("a")), listener(service6, toCluster("six")))}
	rows{
		{"up where 64 KiB of memory may be locked", func(t *testing.T) {
			r := n.in(t).littleMemory(append([]string{"up"}, flags...)...)
			if before(t, 5, 11) {
				refused(t, exitLoad, r, "RLIMIT_MEMLOCK")
				lacks(t, "Before Linux 5.11 maps count as locked memory: `up` needs RLIMIT_MEMLOCK, or CAP_SYS_RESOURCE to raise it.")
			}
			wantExit(t, exitDone, r)
		}},
		{"up", func(t *testing.T) {
			up(t)
			n.in(t).apply(conf...)
			wantReach(t, c, service, service)
		}},
		{"enrolment by path, and back", func(t *testing.T) {
			needsCookies(t)
			n.in(t).enroll(p)
			wantReach(t, c, service, epA1)
			n.in(t).want(exitDone, "unenroll", "--netns", p.path)
			wantReach(t, c, service, service)
		}},
		{"enrolment by the control address, and back", func(t *testing.T) {
			wantReach(t, c, "0.0.0.2:929", controlled)
			if got := c.reach(service); got == service {
				t.Error("it was not enrolled")
			}
			wantReach(t, c, "[::2]:930", controlled)
			wantReach(t, c, service, service)
		}},
		{"redirect of IPv4 and IPv6 in exact turns", func(t *testing.T) {
			n.in(t).manage(p)
			wantSpread(t, c, service, counts{epA1: 20, epA2: 20})
			wantSpread(t, c, service6, counts{six1: 20, six2: 20})
		}},
		{"who is not enrolled is left alone", func(t *testing.T) { wantReach(t, oc, service, service) }},
		{"weighted clusters, by tail calls", func(t *testing.T) {
			n.in(t).apply(cds(static("a", epA1), static("b", epB1)), lds(listener(service, toWeighted(share{"a", 3}, share{"b", 1}))))
			wantSpread(t, c, service, counts{epA1: 30, epB1: 10})
		}},
		{"results are counted, an endpoint that fails is skipped", func(t *testing.T) {
			n.in(t).apply(cds(static("a", epA1, bad1)), lds(listener(service, toCluster("a"))))
			wantSpread(t, c, service, counts{refusal: 5, epA1: 55})
			if s := n.in(t).endpoint("a", bad1); s.Refused != 5 || s.Ejections != 1 {
				t.Errorf("%+v", s)
			}
		}},
		{"least request counts what is open", func(t *testing.T) {
			n.in(t).apply(cds(withPolicy(static("a", epB1), "LEAST_REQUEST")), lds(listener(service, toCluster("a"))))
			held := c.hold(service, 10)
			if got := n.in(t).active("a")[epB1]; got != 10 {
				t.Errorf("active connections: %d, want 10", got)
			}
			release(held[epB1])
			if got := n.in(t).active("a")[epB1]; got != 0 {
				t.Errorf("active connections after all closed: %d", got)
			}
		}},
		{"up again changes nothing", func(t *testing.T) {
			ids := fmt.Sprint(n.in(t).pinIDs())
			up(t)
			if now := fmt.Sprint(n.in(t).pinIDs()); now != ids {
				t.Errorf("pins before and after:\n%s\n%s", ids, now)
			}
		}},
		{"programs are exchanged under traffic", func(t *testing.T) {
			n.in(t).apply(conf...)
			all := during(c, service, func() { up(t, "--connect-ret", "off"); up(t) })
			wantOnly(t, all, epA1, epA2)
		}},
		{"result of connect by the system call", func(t *testing.T) {
			variant := []string{"up", "--connect-ret", "sys_exit_connect"}
			switch {
			case before(t, 5, 15):
				refused(t, exitAttach, n.in(t).run(variant...), "5.15", "--connect-ret auto")
				lacks(t, "Before Linux 5.15 there are no links of tracepoints, so none that can be pinned: `--connect-ret auto` needs none.")
			case lockdown() == "confidentiality":
				refused(t, exitAttach, n.in(t).run(variant...), "locked down", "--connect-ret auto")
				lacks(t, "A kernel that is locked down for confidentiality closes tracefs: `--connect-ret auto` needs none.")
			}
			up(t, variant[1:]...)
			wantReach(t, c, service6, six1)
		}},
		{"change of mode and back", func(t *testing.T) {
			n.in(t).want(exitDone, "--mode", "workload", "up", "--control-address", "on")
			n.in(t).wantOneMode("workload")
			wantReach(t, c, service, service)
			up(t)
			n.in(t).wantOneMode("ads")
			n.in(t).apply(cds(static("a", epB1)), lds(listener(service, toCluster("a"))))
			wantReach(t, c, service, epB1)
		}},
		{"down leaves nothing", func(t *testing.T) {
			n.in(t).want(exitDone, "down")
			wantReach(t, c, service, service)
			if err := host.unchanged(); err != nil {
				t.Error(err)
			}
		}},
		{"up on a cgroup below the root", func(t *testing.T) {
			n := below(t)
			if r := n.run("up"); marksSockets(t) && before(t, 5, 15) {
				refused(t, exitLoad, r, "net_cls", "root of cgroup2")
				lacks(t, "Where net_cls or net_prio of cgroup v1 mark sockets, Linux before 5.15 runs programs on the root of cgroup2 alone: `up` on another is refused, and says so.")
			} else {
				wantExit(t, exitDone, r)
			}
		}},
	}.run(t)
}

// during makes connections until do has returned. It leaves the processor to others
// between them: there may be one only, and a slow one.
func during(c *client, dst string, do func()) counts {
	to := netip.MustParseAddrPort(dst)
	done := make(chan struct{})
	all := make(chan map[target]int)
	go func() {
		got := map[target]int{}
		c.do(func() {
			for {
				got[connect(to)]++
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
		all <- got
	}()
	do()
	close(done)
	return name(<-all)
}
