// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

const hup = unix.SIGHUP

// soon is a time that run waits for a control plane that is not there.
const soon = "--xds-sync-timeout=300ms"

// Without its control plane the data plane goes on as it is, and so it does when run is
// killed and starts again. The control plane that comes back says what it knows, and what
// it does not know any more goes.
func TestLiveControlPlaneIsAway(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		n, p, cp, s := highroad(t, variant)
		st := cp.next()
		st.taken(cds(edsCluster("a"), edsCluster("b")), eds(assigned("a", epA1), assigned("b", epB1)),
			lds(listener(service, toCluster("a")), listener("10.96.0.11:80", toCluster("b"))))
		s.hear(0, "READY=1")
		d := p.dialer(service)
		before := n.generation()
		cp.Stop()
		s.logged("level=warning", "what is in force stays")
		d.more(aFew)
		s.signal(unix.SIGKILL)
		s.killed()
		d.more(aFew)

		s = n.linked(cp.Address(), variant, soon)
		s.hear(0, "READY=1")
		s.status(0, "xds", "not synced")
		s.logged("level=warning", "--xds-sync-timeout")
		d.more(aFew)
		if after := n.generation(); after != before {
			t.Errorf("generation %d, then %d", before, after)
		}
		// An apply by hand is possible, and goes when the control plane has its say.
		n.applyOwn("by-hand", "10.96.0.12:80", epC1)

		mustStart(t, cp)
		st = cp.again()
		if got := slices.Sorted(slices.Values(cp.known[controlplane.Cluster])); variant == "delta" && !slices.Equal(got, []string{"a", "b", "by-hand"}) {
			t.Errorf("initial_resource_versions of clusters %q", got)
		}
		at := s.now()
		st.taken(cds(edsCluster("a")), eds(assigned("a", epA1)), lds(listener(service, toCluster("a"))))
		s.logged("all that was asked for has come")
		s.status(at, "xds", "synced")
		d.more(aFew)
		wantOnly(t, d.stop(), epA1)
		comesToReachFast(t, p.client(0), "10.96.0.11:80", "10.96.0.11:80")
		if got := n.held("clusters"); !slices.Equal(got, []string{"a"}) {
			t.Errorf("clusters %q, want a alone", got)
		}
		if got := n.held("listeners"); len(got) != 1 {
			t.Errorf("listeners %q, want one", got)
		}
		s.stop(exitDone)
	})
}

// killed waits for the end of a service that was sent SIGKILL.
func (s *daemon) killed() {
	s.t.Helper()
	if err := s.cmd.Wait(); err == nil || s.cmd.ProcessState.Exited() {
		s.t.Fatalf("run was killed and ended by itself: %v", s.cmd.ProcessState)
	}
}

// The same with go-control-plane's server, which sends what the versions that the client
// tells of are not, and names what it does not know.
func TestLiveWorkloadControlPlaneIsAway(t *testing.T) {
	m, c := lane(t)
	cp := controlplane.NewLive(controlplane.Config{})
	serving(t, cp)
	change := func(cp *controlplane.Live, d doc) {
		t.Helper()
		if err := cp.Change(said(t, d)); err != nil {
			t.Fatal(err)
		}
	}
	b := []obj{wsvc("b", vips("10.96.0.2"), wport(80, 9090)), wpod("b1", ip2, serves("b", wport(80, 9090)))}
	change(cp, wds(append(b, serviceA(), a1())...))
	change(cp, policies(policy("p", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{1}))))
	s := m.linked(cp.Address(), "")
	s.hear(0, "READY=1")
	reaches(t, c, map[string]string{vipA: at(ip1, 8080), vipB: at(ip2, 9090)})
	used := m.used()

	// The connection alone goes: nothing is sent again.
	said := len(cp.Requests())
	s.signal(hup)
	again, err := cp.WaitAfter(within(t), said, func(q controlplane.Request) bool { return q.Type == controlplane.Address && q.First() })
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Initial) != 4 || again.Initial[uid("a1")] == "" {
		t.Errorf("initial_resource_versions %v", again.Initial)
	}

	cp.Stop()
	s.logged("what is in force stays")
	s.signal(unix.SIGKILL)
	s.killed()
	reaches(t, c, map[string]string{vipA: at(ip1, 8080), vipB: at(ip2, 9090)})
	s = m.linked(cp.Address(), "", soon)
	s.hear(0, "READY=1")
	s.status(0, "xds", "not synced")
	if got := m.used(); !maps.Equal(got, used) {
		t.Errorf("entries before and after a restart:\n%v\n%v", used, got)
	}

	// Another one takes its place, which knows less, and that another way.
	other := controlplane.NewLive(controlplane.Config{Listen: cp.Address()})
	change(other, wds(serviceA(), a1("addresses", [][]byte{ipBytes(ip3)})))
	serving(t, other)
	comesToReach(t, c, vipA, at(ip3, 8080))
	comesToReach(t, c, vipB, vipB)
	s.status(0, "xds", "synced")
	m.wantNames("services", "name", keyOf("a"))
	m.wantNames("workloads", "uid", uid("a1"))
	m.wantNames("policies", "name")
	s.stop(exitDone)
}

// It goes away and comes back a few times, each time in another way.
func TestLiveControlPlaneComesAndGoes(t *testing.T) {
	n, p, cp, s := highroad(t, "delta")
	st := cp.next()
	docs := []doc{cds(static("a", epA1)), lds(listener(service, toCluster("a")))}
	st.taken(docs...)
	s.hear(0, "READY=1")
	d := p.dialer(service)
	before := n.generation()
	for _, away := range []func(){
		func() { st.End(nil) },
		func() { st.End(unavailable) },
		func() { cp.CutAfter(0); st.End(nil) },
		func() { cp.Stop(); s.logged("next attempt in"); mustStart(t, cp) },
	} {
		away()
		<-st.Gone()
		st = cp.again()
		st.taken(docs...)
		d.more(aFew)
	}
	if after := n.generation(); after != before {
		t.Errorf("generation %d, then %d", before, after)
	}
	wantOnly(t, d.stop(), epA1)
	if strings.Count(s.said(), "xds: connected") < 5 {
		t.Errorf("the log does not tell of five connections:\n%s", s.said())
	}
	s.stop(exitDone)
}

func mustStart(t testing.TB, p plane) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
}
