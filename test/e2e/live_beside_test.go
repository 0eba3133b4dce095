// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// Others may write beside run: neither loses what the other one wrote.
func TestLiveApplyBesideRun(t *testing.T) {
	n, p, cp, s := highroad(t, "delta")
	st := cp.next()
	st.taken(cds(edsCluster("a")), eds(assigned("a", epA1)), lds(listener(service, toCluster("a"))))
	s.hear(0, "READY=1")
	const other = "10.96.0.11:80"
	n.applyOwn("own", other, epB1)
	d, e := p.dialer(service), p.dialer(other)
	pushed := make(chan error, 1)
	go func() {
		for i := range 40 {
			r := cp.versioned(said(t, eds(assigned("a", []string{epA2, epA1}[i%2]))))
			q, err := st.Exchange(within(t), r)
			if err == nil && q.NACK() {
				err = fmt.Errorf("rejected: %s", q.Error)
			}
			if err != nil {
				pushed <- err
				return
			}
		}
		pushed <- nil
	}()
	for i := range 6 {
		n.applyOwn("own", other, []string{epB2, epB1}[i%2])
		n.applyOwn(fmt.Sprintf("own%d", i), fmt.Sprintf("10.96.1.%d:80", i), epC1)
	}
	if err := <-pushed; err != nil {
		t.Error(err)
	}
	wantOnly(t, d.stop(), epA1, epA2)
	wantOnly(t, e.stop(), epB1, epB2)
	if got := n.held("clusters"); !slices.Equal(got, []string{"a", "own", "own0", "own1", "own2", "own3", "own4", "own5"}) {
		t.Errorf("clusters %q", got)
	}
	// What is of the control plane and was changed or deleted by hand is asked for again
	// when it has its next word.
	c := p.client(0)
	for i, byHand := range []func(){
		func() { n.applyOwn("a", service, epC1); comesToReachFast(t, c, service, epC1) },
		func() { n.want(exitDone, "delete", "cluster", "a"); comesToReachFast(t, c, service, service) },
	} {
		byHand()
		if _, err := st.Send(cp.versioned(said(t, eds(assigned("a", epB1))))); err != nil {
			t.Fatal(err)
		}
		<-st.Gone()
		st = cp.again()
		ep := []string{epA2, epA1}[i]
		st.taken(cds(edsCluster("a")), eds(assigned("a", ep)), lds(listener(service, toCluster("a"))))
		comesToReachFast(t, c, service, ep)
	}
	s.stop(exitDone)
}

func TestLiveWorkloadApplyBesideRun(t *testing.T) {
	m, c := lane(t)
	cp := newPeer(t, controlplane.Config{})
	s := m.linked(cp.Address(), "")
	st := cp.next()
	st.taken(wds(serviceA(), a1()), policies())
	s.hear(0, "READY=1")
	for i := range 6 {
		ip := []string{ip3, ip4}[i%2]
		m.apply(wdelta(nil, wsvc("b", vips("10.96.0.2"), wport(80, 9090)), wpod("b1", ip, serves("b", wport(80, 9090)))))
		st.taken(wdelta(nil, a1("addresses", [][]byte{ipBytes([]string{ip2, ip1}[i%2])})))
		reaches(t, c, map[string]string{vipA: at([]string{ip2, ip1}[i%2], 8080), vipB: at(ip, 9090)})
	}
	// A pod that comes under management beside run is under the policies that it has.
	p := m.pod(serverIP)
	p.serve(at(serverIP, 7001))
	stranger := m.pod("10.1.0.9").client(0)
	st.taken(denyAll(), wdelta(nil, wpod("p", serverIP)))
	m.enroll(p)
	becomes(t, "denied", func() bool { return denied(stranger, at(serverIP, 7001)) })
	st.taken(policyDelta([]string{"istio-system/deny-all"}))
	becomes(t, "let in", func() bool { return stranger.reach(at(serverIP, 7001)) == at(serverIP, 7001) })
	s.stop(exitDone)
}

// What is deleted by hand comes back at a turn, though the control plane has no news.
func TestLiveWhatIsDeletedByHandComesBack(t *testing.T) {
	for mode, which := range map[string][][]string{
		"ads":      {{"cluster", "a"}, {"listener", vipA}},
		"workload": {{"workload", uid("a-" + ip1)}, {"service", "ns/" + hostOf("a")}},
	} {
		t.Run(mode, func(t *testing.T) {
			n := newNodeOf(t, "")
			net := newFabric(t)
			net.pod(t).serveFast(vipA, at(ip1, 8080))
			p := net.pod(t, clientIP)
			cp := controlplane.NewLive(controlplane.Config{})
			serving(t, cp)
			if err := cp.Set(within(t), saidAll(t, cds(edsCluster("a")), eds(assigned("a", at(ip1, 8080))),
				lds(listener(vipA, toCluster("a"))))...); err != nil {
				t.Fatal(err)
			}
			if err := cp.Change(said(t, aOf(8080, ip1))); err != nil {
				t.Fatal(err)
			}
			s := n.linkedOf("", cp.Address(), "", "--mode", mode, "--reconcile-interval", "500ms")
			s.hear(0, "READY=1")
			n.want(exitDone, "--mode", mode, "enroll", "--netns", p.path)
			c := p.client(0)
			for _, words := range which {
				comesToReachFast(t, c, vipA, at(ip1, 8080))
				n.want(exitDone, append([]string{"--mode", mode, "delete"}, words...)...)
			}
			comesToReachFast(t, c, vipA, at(ip1, 8080))
			s.stop(exitDone)
		})
	}
}

// Another build, and the other mode, take over from a run that a control plane configures:
// no connection is missed or misrouted, for the other mode knows it all before this one goes.
func TestLiveUpgradeAndModeChangeMissNoConnection(t *testing.T) {
	n := newNodeOf(t, "")
	net := newFabric(t)
	net.pod(t).serveFast(vipA, at(ip1, 8080), at(ip2, 8080))
	p := net.pod(t, clientIP)
	cp := controlplane.NewLive(controlplane.Config{})
	serving(t, cp)
	ctx := within(t)
	if err := cp.Set(ctx, saidAll(t, cds(edsCluster("a")), eds(assigned("a", at(ip1, 8080), at(ip2, 8080))),
		lds(listener(vipA, toCluster("a"))))...); err != nil {
		t.Fatal(err)
	}
	if err := cp.Change(said(t, aOf(8080, ip1, ip2))); err != nil {
		t.Fatal(err)
	}
	same := n.equalBuild()
	run := func(build, mode string) *daemon {
		t.Helper()
		s := n.linkedOf(build, cp.Address(), "", "--mode", mode)
		s.hear(0, "READY=1")
		s.status(0, "mode "+mode, "xds synced")
		return s
	}
	s := run("", "ads")
	n.want(exitDone, "--mode", "ads", "enroll", "--netns", p.path)
	d := p.dialer(vipA)
	for _, next := range []struct{ build, mode string }{
		{same, "ads"}, {"", "ads"}, {"", "workload"}, {same, "workload"}, {"", "ads"},
	} {
		s.stop(exitDone)
		s = run(next.build, next.mode)
		d.more(aFew)
	}
	s.stop(exitDone)
	wantOnly(t, d.stop(), at(ip1, 8080), at(ip2, 8080))
}
