// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// more lets so many connections be made in the state that there is.
func (d *dialer) more(n int) {
	d.t.Helper()
	until := d.made() + n
	if err := eventually(func() error {
		if made := d.made(); made < until {
			return fmt.Errorf("%d connections were made, want %d", made, until)
		}
		return nil
	}); err != nil {
		d.t.Fatal(err)
	}
}

// aFew connections see each state of what comes.
const aFew = 300

// highroad is road whose run follows a peer.
func highroad(t *testing.T, variant string) (*node, *pod, *peer, *daemon) {
	t.Helper()
	n := upNode(t)
	p := newPod(t)
	p.serveFast(service, service6, "10.96.0.11:80", epA1, epA2, epB1, epB2, epC1, epC2, six1, six2)
	n.enroll(p)
	cp := newPeer(t, controlplane.Config{})
	return n, p, cp, n.linked(cp.Address(), variant)
}

func assigned(name string, endpoints ...string) obj {
	list := make([]obj, len(endpoints))
	for i, e := range endpoints {
		list[i] = endpoint(e, 1)
	}
	return cla(name, locality(0, 0, list...))
}

// Whatever comes in whichever order: a connection goes where the last configuration that
// was whole sends it, or where the next one does; never to the address itself, at which a
// trap listens.
func TestLiveOrderIsSafe(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		_, p, cp, s := highroad(t, variant)
		st := cp.next()
		st.taken(cds(edsCluster("a")), eds(assigned("a", epA1)), lds(listener(service, toCluster("a"))))
		s.hear(0, "READY=1")
		c := p.client(0)
		d := p.dialer(service)
		step := func(now string, docs ...doc) {
			t.Helper()
			st.taken(docs...)
			d.more(aFew)
			comesToReachFast(t, c, service, now)
		}
		// Clusters before their endpoints, which the listener comes to name meanwhile.
		step(epA1, cds(edsCluster("a"), edsCluster("b")), lds(listener(service, toCluster("b"))))
		step(epB1, eds(assigned("b", epB1)))
		// The cluster goes while the listener still names it; the next one comes after.
		step(epB1, cds(edsCluster("c")))
		step(epB1, eds(assigned("c", epC1)))
		step(epC1, lds(listener(service, toCluster("c"))))
		// Renamed in one response, whose listener follows.
		step(epC1, cds(edsCluster("d")), eds(assigned("d", epC2)))
		step(epC2, lds(listener(service, toCluster("d"))))
		// From endpoints by EDS to its own, and back.
		step(epA2, cds(static("d", epA2)))
		step(epA2, cds(edsCluster("d")))
		step(epB2, eds(assigned("d", epB2)))
		// By way of routes: the listener names them before they come, and they name a
		// cluster that is not there yet.
		step(epB2, lds(listener(service, toRDS("r"))))
		step(epA1, cds(edsCluster("d"), edsCluster("e")), rds(routes("r", vhost("all", []string{"*"}, always(cluster("e"))))),
			eds(assigned("e", epA1)))
		// Endpoints change, one of them goes, another comes.
		step(epA2, eds(assigned("e", epA2)))
		wantOnly(t, d.stop(), epA1, epB1, epC1, epC2, epA2, epB2)
		s.stop(exitDone)
	})
}

// comesToReachFast is comesToReach for listeners that say nothing.
func comesToReachFast(t testing.TB, c *client, to, want string) {
	t.Helper()
	if err := eventually(func() error {
		if got := c.spread(to, 1); got[want] != 1 {
			return fmt.Errorf("a connection to %s went to%v, want %s", to, got, want)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Listeners that are moved to another address: each of the addresses leads there or to
// itself, and to nobody else's.
func TestLiveListenersMove(t *testing.T) {
	const other = "10.96.0.11:80"
	variants(t, func(t *testing.T, variant string) {
		_, p, cp, s := highroad(t, variant)
		st := cp.next()
		named := func(name, addr, to string) obj {
			l := listener(addr, toCluster(to))
			l["name"] = name
			return l
		}
		st.taken(cds(static("a", epA1), static("b", epB1)), lds(named("x", service, "a")))
		s.hear(0, "READY=1")
		c := p.client(0)
		d, e := p.dialer(service), p.dialer(other)
		for i := range 10 {
			addr, free := service, other
			if i%2 == 0 {
				addr, free = other, service
			}
			st.taken(lds(named("x", addr, "a")))
			comesToReachFast(t, c, addr, epA1)
			comesToReachFast(t, c, free, free)
			d.more(20)
			e.more(20)
			// One name's address is taken by another one in the same response.
			st.taken(lds(named("y", addr, "b")))
			comesToReachFast(t, c, addr, epB1)
			d.more(20)
			e.more(20)
		}
		wantOnly(t, d.stop(), epA1, epB1, service)
		wantOnly(t, e.stop(), epA1, epB1, other)
		s.stop(exitDone)
	})
}

// Both services change with every response; the trap is at their own addresses.
func TestLivePushesMissNoConnect(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		_, p, cp, s := highroad(t, variant)
		st := cp.next()
		state := func(i int) []doc {
			one, two := fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)
			ep := [][2]string{{epA1, epB1}, {epA2, epB2}}[i%2]
			return []doc{
				cds(edsCluster(one), edsCluster(two)),
				eds(assigned(one, ep[0]), assigned(two, ep[1])),
				lds(listener(service, toCluster(one)), listener("10.96.0.11:80", toCluster(two))),
			}
		}
		st.taken(state(0)...)
		s.hear(0, "READY=1")
		d, e := p.dialer(service), p.dialer("10.96.0.11:80")
		for i := range 100 {
			st.taken(state(i + 1)...)
		}
		d.more(aFew)
		e.more(aFew)
		wantOnly(t, d.stop(), epA1, epA2)
		wantOnly(t, e.stop(), epB1, epB2)
		s.stop(exitDone)
	})
}

func TestLiveWorkloadPushesMissNoConnect(t *testing.T) {
	m := newMesh(t)
	backends := m.pod()
	for _, port := range []int{8080, 9090} {
		backends.serveFast(at(ip1, port), at(ip2, port), at(ip3, port), at(ip4, port))
	}
	backends.serveFast(vipA)
	p := m.enrolled(clientIP)
	cp := newPeer(t, controlplane.Config{})
	s := m.linked(cp.Address(), "")
	st := cp.next()
	st.taken(aOf(8080, ip1, ip2), policies())
	s.hear(0, "READY=1")
	d := p.dialer(vipA)
	for range 50 {
		// Ports and workloads change in one response: parts of two lead to a port of the other.
		st.taken(wdelta([]string{uid("a-" + ip1), uid("a-" + ip2)}, serviceA(),
			wpod("a-"+ip3, ip3, serves("a", wport(80, 9090))), wpod("a-"+ip4, ip4, serves("a", wport(80, 9090)))))
		st.taken(wdelta([]string{uid("a-" + ip3), uid("a-" + ip4)}, serviceA(),
			wpod("a-"+ip1, ip1, serves("a", wport(80, 8080))), wpod("a-"+ip2, ip2, serves("a", wport(80, 8080)))))
	}
	d.more(aFew)
	wantOnly(t, d.stop(), at(ip1, 8080), at(ip2, 8080), at(ip3, 9090), at(ip4, 9090))
	s.stop(exitDone)
}

// A response is one publication, and one that changes nothing is none.
func TestLiveOneResponseIsOnePublication(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		n, _, cp, s := highroad(t, variant)
		st := cp.next()
		all := func(a, b string) []doc {
			return []doc{cds(static("a", a), static("b", b), edsCluster("c")), eds(assigned("c", epC1)),
				lds(listener(service, toCluster("a")), listener("10.96.0.11:80", toCluster("c")))}
		}
		st.taken(all(epA1, epB1)...)
		s.hear(0, "READY=1")
		next := all(epA2, epB2)
		before := n.generation()
		st.taken(next[0])
		if after := n.generation(); after != before+1 {
			t.Errorf("two clusters in one response: generation %d, then %d", before, after)
		}
		st.taken(next...)
		before = n.generation()
		for range 3 {
			st.taken(next...)
			st.taken(next[1], eds())
		}
		if after := n.generation(); after != before {
			t.Errorf("nothing changed: generation %d, then %d", before, after)
		}
		s.stop(exitDone)
	})
}
