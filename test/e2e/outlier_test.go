// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	refusal = "connection refused"
	// Addresses of the pod that nobody listens on.
	bad1, bad2, bad6 = "10.244.7.1:8080", "10.244.7.2:8080", "[fd00:244:7::1]:8080"
)

// ward is a site with endpoints that refuse.
func ward(t *testing.T, flags ...string) (*node, *pod, *client) {
	t.Helper()
	n, p, c := site(t, flags...)
	p.addresses(bad1, bad2, bad6)
	return n, p, c
}

var forLong = []string{"--outlier-backoff", "1h", "--outlier-backoff-max", "1h"}

func TestEndpointThatFailsInARowIsSkipped(t *testing.T) {
	n, _, c := ward(t, forLong...)
	n.apply(cds(static("a", epA1, bad1, six1, bad6)),
		lds(listener(service, toCluster("a")), listener(service6, toCluster("a"))))
	// The default is five.
	wantSpread(t, c, service, counts{refusal: 5, epA1: 95})
	wantSpread(t, c, service6, counts{refusal: 5, six1: 95})
	// A push does not forget it.
	n.apply(cds(static("a", epA1, bad1, epA2)))
	wantSpread(t, c, service, counts{epA1: 30, epA2: 30})
}

func TestNumberOfFailuresIsAFlag(t *testing.T) {
	n, _, c := ward(t, append(forLong, "--outlier-failures", "2")...)
	n.apply(cds(static("a", epA1, bad1)), lds(listener(service, toCluster("a"))))
	wantSpread(t, c, service, counts{refusal: 2, epA1: 38})
}

func TestSuccessBetweenFailuresIsNotARow(t *testing.T) {
	n, p, c := ward(t, append(forLong, "--outlier-failures", "3")...)
	n.apply(cds(static("a", bad1)), lds(listener(service, toCluster("a"))))
	for range 5 {
		wantSpread(t, c, service, counts{refusal: 2})
		l := p.listen(bad1)
		wantSpread(t, c, service, counts{bad1: 1})
		l.Close()
	}
	if s := n.endpoint("a", bad1); s.Ejections != 0 {
		t.Errorf("never three failures in a row, yet %+v", s)
	}
}

func TestOutlierDetectionOff(t *testing.T) {
	n, _, c := ward(t, "--outlier-detection", "off")
	n.apply(cds(static("a", epA1, bad1)), lds(listener(service, toCluster("a"))))
	wantSpread(t, c, service, counts{refusal: 50, epA1: 50})
}

func TestWithoutAHealthyEndpointOneIsUsedAllTheSame(t *testing.T) {
	n, _, c := ward(t, forLong...)
	n.apply(cds(static("a", bad1, bad2)), lds(listener(service, toCluster("a"))))
	wantSpread(t, c, service, counts{refusal: 50})
}

func TestPrioritiesFailOver(t *testing.T) {
	n, _, c := ward(t, append(forLong, "--outlier-failures", "2")...)
	n.apply(cds(staticOf("a", locality(0, 0, endpoint(bad1, 1), endpoint(bad2, 1)),
		locality(0, 1, endpoint(epB1, 1), endpoint(epB2, 1)), locality(0, 2, endpoint(epC1, 1)))),
		lds(listener(service, toCluster("a"))))
	wantSpread(t, c, service, counts{refusal: 4, epB1: 20, epB2: 20})
}

func TestLeastRequestAndRandomSkipToo(t *testing.T) {
	for _, policy := range []string{"LEAST_REQUEST", "RANDOM"} {
		t.Run(policy, func(t *testing.T) {
			n, _, c := ward(t, forLong...)
			n.apply(cds(withPolicy(static("a", epA1, bad1, epA2), policy)), lds(listener(service, toCluster("a"))))
			got := c.spread(service, 500)
			if got[refusal] != 5 || got[refusal]+got[epA1]+got[epA2] != 500 {
				t.Errorf("500 connections:%v, want 5 refused", got)
			}
		})
	}
}

func TestEndpointComesBackAfterABackOffThatGrows(t *testing.T) {
	const first = 200 * time.Millisecond
	n, p, c := ward(t, "--outlier-failures", "1", "--outlier-backoff", first.String(), "--outlier-backoff-max", "1h")
	n.apply(cds(static("a", epA1, bad1)), lds(listener(service, toCluster("a"))))
	for ejections := 1; ejections <= 4; ejections++ {
		if err := eventually(func() error {
			got := c.spread(service, 2)
			if got[refusal] == 0 {
				return fmt.Errorf("not tried again:%v", got)
			}
			return nil
		}); err != nil {
			t.Fatalf("ejection %d: %v", ejections, err)
		}
		if s := n.endpoint("a", bad1); s.Ejections != ejections {
			t.Fatalf("after %d failures, each after a back-off: %+v", ejections, s)
		}
	}
	// The fourth is eight times as long as the first.
	if s := n.endpoint("a", bad1); s.EjectedFor <= first {
		t.Errorf("after 4 ejections, %+v: not longer than the first back-off", s)
	}
	p.serve(bad1)
	if err := eventually(func() error {
		if got := c.spread(service, 20); !maps.Equal(got, counts{epA1: 10, bad1: 10}) {
			return fmt.Errorf("not in turn again:%v", got)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if s := n.endpoint("a", bad1); s.EjectedFor != 0 {
		t.Errorf("after it answered: %+v", s)
	}
}

func TestTimeoutsAreCountedAndSkipped(t *testing.T) {
	const silent = "10.9.0.2:80"
	n, p, c := ward(t, append(forLong, "--outlier-failures", "1")...)
	p.blackHole("10.9.0.1/24", "10.9.0.2")
	n.apply(cds(static("a", epA1, silent)), lds(listener(service, toCluster("a"))))
	got := counts{}
	c.do(func() {
		for range 10 {
			got[impatient(service)]++
		}
	})
	if want := (counts{epA1: 9, "connection timed out": 1}); !maps.Equal(got, want) {
		t.Errorf("10 connections:%v, want%v", got, want)
	}
	if s := n.endpoint("a", silent); s.Timeouts != 1 || s.OK != 0 || s.Refused != 0 {
		t.Errorf("%s: %+v, want one time-out", silent, s)
	}
}

func TestConnectThatTheApplicationGivesUpSaysNothing(t *testing.T) {
	const silent = "10.9.0.2:80"
	n, p, c := ward(t, append(forLong, "--outlier-failures", "1")...)
	p.blackHole("10.9.0.1/24", "10.9.0.2")
	n.apply(cds(static("a", silent)), lds(listener(service, toCluster("a"))))
	c.do(func() {
		for range 5 {
			fd, err := begin(service)
			if !errors.Is(err, unix.EINPROGRESS) {
				t.Errorf("connect without waiting: %v", err)
			}
			unix.Close(fd)
		}
	})
	if s := n.endpoint("a", silent); s.Timeouts+s.Refused+s.Errors+s.OK+s.Ejections != 0 {
		t.Errorf("%s: %+v, want nothing counted", silent, s)
	}
}
