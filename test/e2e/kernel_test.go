// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

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
		lacks(t, "Linux 5.14 or later tells a namespace's cookie (SO_NETNS_COOKIE)")
	}
}

// needsKernel skips what this version does not have.
func needsKernel(t testing.TB, major, minor int, what string) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var a, b int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); err != nil {
		t.Fatal(err)
	}
	if a < major || a == major && b < minor {
		lacks(t, fmt.Sprintf("Linux %d.%d or later has %s", major, minor, what))
	}
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
	before, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	up := func(t *testing.T, flags ...string) {
		t.Helper()
		n.in(t).up(append([]string{"--control-address", "on", "--outlier-backoff", "1h", "--outlier-backoff-max", "1h"}, flags...)...)
	}
	conf := []doc{cds(static("a", epA1, epA2), static("six", six1, six2)),
		lds(listener(service, toCluster("a")), listener(service6, toCluster("six")))}
	rows{
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
			needsKernel(t, 5, 15, "links of tracepoints that can be pinned")
			up(t, "--connect-ret", "sys_exit_connect")
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
			if err := before.unchanged(); err != nil {
				t.Error(err)
			}
		}},
	}.run(t)
}

// during makes connections until do has returned.
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
				default:
				}
			}
		})
		all <- got
	}()
	do()
	close(done)
	return name(<-all)
}
