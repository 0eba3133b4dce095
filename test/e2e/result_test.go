// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestResultsAreCountedByEndpoint(t *testing.T) {
	for _, variant := range []string{"auto", "sys_exit_connect"} {
		t.Run(variant, func(t *testing.T) {
			n, p, c := site(t, "--connect-ret", variant, "--outlier-detection", "off")
			p.addresses(bad1, bad6)
			n.apply(cds(static("a", epA1, bad1), static("b", six1, bad6)),
				lds(listener(service, toCluster("a")), listener(service6, toCluster("b"))))
			wantSpread(t, c, service, counts{epA1: 30, refusal: 30})
			wantSpread(t, c, service6, counts{six1: 20, refusal: 20})
			for _, x := range []struct {
				cluster, addr string
				ok, refused   int
			}{{"a", epA1, 30, 0}, {"a", bad1, 0, 30}, {"b", six1, 20, 0}, {"b", bad6, 0, 20}} {
				s := n.endpoint(x.cluster, x.addr)
				if s.OK != x.ok || s.Refused != x.refused || s.Timeouts != 0 || s.Errors != 0 {
					t.Errorf("%s: %+v, want %d ok and %d refused", x.addr, s, x.ok, x.refused)
				}
				if ok := x.ok > 0; ok != (s.LatencyAvg > 0) || ok != (s.LatencyMax > 0) || s.LatencyMax < s.LatencyAvg {
					t.Errorf("%s: latency %v on average, at most %v", x.addr, s.LatencyAvg, s.LatencyMax)
				}
			}
			// A push keeps what was counted.
			n.apply(cds(static("a", epA1, epA2), static("b", six1)))
			if s := n.endpoint("a", epA1); s.OK != 30 {
				t.Errorf("after a push, %s: %+v", epA1, s)
			}
		})
	}
}

// A full queue of connections leaves a SYN unanswered, and it is sent again after
// a second. The round trip of the second is not what the application waited for.
func TestLatencyIsTheWholeWaitOfARepeatedSYN(t *testing.T) {
	for _, variant := range []string{"auto", "sys_exit_connect"} {
		t.Run(variant, func(t *testing.T) {
			n, p, c := site(t, "--connect-ret", variant)
			p.addresses(bad1)
			n.apply(cds(static("a", bad1)), lds(listener(service, toCluster("a"))))
			l := p.listenFor(bad1, 0)
			var took time.Duration
			c.do(func() {
				held, err := dial(netip.MustParseAddrPort(bad1))
				if err != nil {
					t.Error(err)
					return
				}
				defer held.close()
				room := time.AfterFunc(time.Second/2, func() {
					if fd, _, err := unix.Accept(l); err == nil {
						unix.Close(fd)
					}
				})
				defer room.Stop()
				start := time.Now()
				got, err := dial(netip.MustParseAddrPort(service))
				if err != nil {
					t.Error(err)
					return
				}
				took = time.Since(start)
				got.close()
			})
			s := n.endpoint("a", bad1)
			if s.OK != 1 || took < time.Second/2 || s.LatencyMax < took/2 || s.LatencyMax > took+took/10 {
				t.Errorf("a connect that took %v: %+v", took, s)
			}
		})
	}
}

func TestConnectResultOffCountsNothing(t *testing.T) {
	n, p, c := site(t, "--connect-ret", "off")
	p.addresses(bad1)
	n.apply(cds(static("a", epA1, bad1)), lds(listener(service, toCluster("a"))))
	wantSpread(t, c, service, counts{epA1: 30, refusal: 30})
	for _, addr := range []string{epA1, bad1} {
		if s := n.endpoint("a", addr); s.OK+s.Refused+s.Timeouts+s.Errors+s.Ejections != 0 {
			t.Errorf("%s: %+v, want nothing counted", addr, s)
		}
	}
}

func TestStatusNamesTheVariantAndWhy(t *testing.T) {
	n := newNode(t)
	for _, x := range []struct{ flag, variant, why string }{
		// This kernel is a stock one: it lacks the tracepoint, found by BTF.
		{"auto", "sock_state", "btf_trace_connect_ret"},
		{"sys_exit_connect", "sys_exit_connect", "--connect-ret"},
		{"off", "off", "--connect-ret"},
		{"auto", "sock_state", "btf_trace_connect_ret"}, // and back
	} {
		n.up("--connect-ret", x.flag)
		r := n.want(exitDone, "status")
		found := false
		for _, line := range strings.Split(r.out, "\n") {
			found = found || contains(line, x.variant) && contains(line, x.why)
		}
		if !found {
			t.Errorf("%v\nno line names %s and %s", r, x.variant, x.why)
		}
	}
}

func TestVariantChangesInPlace(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	wantSpread(t, c, service, counts{epA1: 5})
	for i, variant := range []string{"sys_exit_connect", "auto"} {
		n.up("--connect-ret", variant)
		wantSpread(t, c, service, counts{epA1: 5})
		if s := n.endpoint("a", epA1); s.OK != 10+5*i {
			t.Errorf("after up --connect-ret %s, %s: %+v", variant, epA1, s)
		}
	}
}
