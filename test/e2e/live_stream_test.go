// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// A name that goes and comes back is asked for again, and gets what is said then.
func TestLiveNamesReappear(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		_, p, cp, s := highroad(t, variant)
		st := cp.next()
		c := p.client(0)
		with, without := lds(listener(service, toCluster("a"))), lds()
		for i, ep := range []string{epA1, epA2, epB1} {
			before := len(cp.Requests())
			st.taken(cds(edsCluster("a")))
			if _, err := cp.WaitAfter(within(t), before, func(q controlplane.Request) bool {
				return q.Type == controlplane.Endpoints && slices.Contains(append(q.Names, q.Subscribe...), "a")
			}); err != nil {
				t.Fatalf("endpoints of a name that came %d times: %v", i+1, err)
			}
			st.taken(eds(assigned("a", ep)), with)
			comesToReachFast(t, c, service, ep)
			st.taken(without, cds())
			comesToReachFast(t, c, service, service)
		}
		// So it is where the listener never went.
		st.taken(cds(edsCluster("a")), eds(assigned("a", epA1)), with)
		s.hear(0, "READY=1")
		d := p.dialer(service)
		d.more(aFew)
		for _, ep := range []string{epA2, epB1} {
			st.taken(cds(), cds(edsCluster("a")), eds(assigned("a", ep)))
			comesToReachFast(t, c, service, ep)
			d.more(aFew)
		}
		wantOnly(t, d.stop(), epA1, epA2, epB1)
		s.stop(exitDone)
	})
}

// A response about the endpoints of one cluster says nothing about those of others, and
// versions may all be empty.
func TestLivePartialEndpointsAndEmptyVersions(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		_, p, cp, s := highroad(t, variant)
		cp.bare = true
		st := cp.next()
		c := p.client(0)
		st.taken(cds(edsCluster("a"), edsCluster("b")), eds(assigned("a", epA1)), eds(assigned("b", six1)),
			lds(listener(service, toCluster("a")), listener(service6, toCluster("b"))))
		s.hear(0, "READY=1")
		reach := func(four, six string) {
			t.Helper()
			comesToReachFast(t, c, service, four)
			comesToReachFast(t, c, service6, six)
		}
		reach(epA1, six1)
		st.taken(eds(assigned("b", six2)))
		reach(epA1, six2)
		st.taken(eds(assigned("a", epA2)))
		reach(epA2, six2)
		st.taken(eds(assigned("a")))
		reach(service, six2) // none are left
		st.taken(eds(assigned("a", epA1), assigned("b", six1)))
		reach(epA1, six1)
		s.stop(exitDone)
	})
}

// A control plane that takes the stream and says nothing does not hold up the start, and
// what is missing is told.
func TestLiveControlPlaneSaysNothing(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		n, _, c := site(t)
		n.applyOwn("before", service, epB1)
		cp := newPeer(t, controlplane.Config{})
		s := n.linked(cp.Address(), variant, soon)
		st := cp.next()
		s.hear(0, "READY=1")
		s.status(0, "xds", "not synced", "missing", "connected to "+cp.Address())
		wantReach(t, c, service, epB1)
		// A part of it is not all of it.
		at := s.now()
		st.taken(cds(edsCluster("a"), static("before", epB1)))
		st.taken(lds(listener(service, toCluster("before"))))
		s.signal(hup)
		st = cp.again()
		st.taken(cds(edsCluster("a"), static("before", epB1)), lds(listener(service, toCluster("before"))))
		s.status(at, "not synced", "a")
		wantReach(t, c, service, epB1)
		st.taken(eds(assigned("a", epA1)))
		s.logged("all that was asked for has come")
		st.taken(lds(listener(service, toCluster("a"))))
		wantReach(t, c, service, epA1)
		s.stop(exitDone)
	})
}

// A control plane that closes connections of a certain age, as istiod does, with a GOAWAY
// in front: nothing is missed, and every change comes.
func TestLiveConnectionsOfACertainAgeAreClosed(t *testing.T) {
	n := upNode(t)
	p := newPod(t)
	p.serveFast(service, "10.96.0.11:9080", epA1, epA2, epB1)
	n.enroll(p)
	cp := controlplane.NewLive(controlplane.Config{MaxAge: 200 * time.Millisecond})
	serving(t, cp)
	ctx := within(t)
	set := func(ep string) {
		t.Helper()
		if err := cp.Set(ctx, saidAll(t, firstEnvoy(ep)...)...); err != nil {
			t.Fatal(err)
		}
	}
	set(epA1)
	s := n.linked(cp.Address(), "delta")
	s.hear(0, "READY=1")
	d := p.dialer(service)
	c := p.client(0)
	for i := 0; len(cp.Tokens()) < 3; i++ {
		ep := []string{epA2, epA1}[i%2]
		set(ep)
		comesToReachFast(t, c, service, ep)
	}
	wantOnly(t, d.stop(), epA1, epA2)
	s.stop(exitDone)
}

// A control plane that is away for long is asked again and again, each time after a longer
// wait, and found again by itself.
func TestLiveControlPlaneIsAwayForLong(t *testing.T) {
	n := upNode(t)
	p := newPod(t)
	p.serveFast(service, epA1, epA2)
	n.enroll(p)
	cp := newPeer(t, controlplane.Config{})
	s := n.linked(cp.Address(), "delta", "--log-level=debug")
	cp.next().taken(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	s.hear(0, "READY=1")
	d := p.dialer(service)
	cp.Stop()
	becomes(t, "asked again", func() bool { return strings.Count(s.said(), "next attempt in") >= 4 })
	if got := strings.Count(s.said(), "level=warning"); got > 3 {
		t.Errorf("%d warnings for one control plane that is away", got)
	}
	mustStart(t, cp)
	st := cp.again()
	st.taken(cds(static("a", epA2)), lds(listener(service, toCluster("a"))))
	comesToReachFast(t, p.client(0), service, epA2)
	wantOnly(t, d.stop(), epA1, epA2)
	s.stop(exitDone)
}

// Killed at any moment of pushes that follow each other, and started again: connections go
// where one of them says, and in the end where the last does.
func TestLiveRunIsKilledInTheMiddleOfPushes(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		n, p, cp, s := highroad(t, variant)
		push := func(i int) []doc {
			name := fmt.Sprintf("c%d", i%3)
			return []doc{cds(edsCluster(name)), eds(assigned(name, []string{epA1, epB1}[i%2])), lds(listener(service, toCluster(name)))}
		}
		st := cp.next()
		st.taken(push(0)...)
		s.hear(0, "READY=1")
		d := p.dialer(service)
		i := 1
		for range 4 {
			// As long as it takes until the next one is under way.
			st.taken(push(i)...)
			i++
			for _, x := range push(i) {
				r := cp.versioned(said(t, x))
				if err := st.Asked(within(t), r); err != nil {
					t.Fatal(err)
				}
				if _, err := st.Send(r); err != nil {
					t.Fatal(err)
				}
				if r.Type == controlplane.Cluster {
					continue
				}
				break
			}
			s.signal(unix.SIGKILL)
			s.killed()
			s = n.linked(cp.Address(), variant)
			st = cp.again()
			st.taken(push(i)...)
			s.hear(0, "READY=1")
			comesToReachFast(t, p.client(0), service, []string{epA1, epB1}[i%2])
			d.more(aFew)
		}
		wantOnly(t, d.stop(), epA1, epB1)
		s.stop(exitDone)
	})
}
