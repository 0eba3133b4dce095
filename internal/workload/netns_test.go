// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"net/netip"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/authz"
	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// A pod whose address becomes a waypoint's has its flag read at each connect, and its
// cookie in its slot again when it is none any more.
func TestWaypointsOwnPod(t *testing.T) {
	k := newKernel(t)
	wp, other := enrol(k, 0x77, "10.0.0.9"), enrol(k, 0x88, "10.0.0.1")
	s := k.open(Options{})
	apply(t, s, delta(list(pod("w1", "10.0.0.9", in("w")), pod("a", "10.0.0.1", in("s")))))
	if flags, slot := wp.flags(); flags != 0 || slot != wp.cookie {
		t.Errorf("before: flags %d, slot %#x", flags, slot)
	}
	byName := http + `waypoint { hostname { namespace: "ns" hostname: "w" } }`
	apply(t, s, delta(list(svc("s", vip, byName))))
	wp.check("named by a service that is there, itself unknown")
	if flags, slot := other.flags(); flags != 0 || slot != other.cookie {
		t.Errorf("another pod: flags %d, slot %#x", flags, slot)
	}
	apply(t, s, delta(list(svc("s", vip, http))))
	if flags, slot := wp.flags(); flags != 0 || slot != wp.cookie {
		t.Errorf("after: flags %d, slot %#x", flags, slot)
	}
	apply(t, s, delta(list(svc("s", vip, http+`waypoint { address { address: "\n\x00\x00\x09" } }`))))
	wp.check("named by address")

	// One that was enrolled without its flag gets it at a refresh.
	late := enrol(k, 0x99, "10.0.0.9")
	refresh(t, s)
	late.check("refreshed")
	// A slot that was made the cookie meanwhile asks again.
	i := netnsSlot(wp.cookie)
	if err := bpfmap.Update(k.fds["km_netns_slot"], raw(&i), raw(&wp.cookie)); err != nil {
		t.Fatal(err)
	}
	refresh(t, s)
	wp.check("slot repaired")
}

// A namespace that leaves while its flags are written is not brought back.
func TestLeftMeanwhile(t *testing.T) {
	k := newKernel(t)
	left := enrol(k, 0x77, "10.0.0.9")
	s := k.open(Options{})
	pods, err := s.maps.enrolments()
	if err != nil || len(pods) != 1 {
		t.Fatalf("%v, %v", pods, err)
	}
	if err := bpfmap.Delete(k.fds["km_netns"], raw(&left.cookie)); err != nil {
		t.Fatal(err)
	}
	pods[0].value.flags = netnsWaypoint
	if err := s.setFlags(&pods[0]); err != nil {
		t.Fatal(err)
	}
	if pods, err = s.maps.enrolments(); err != nil || len(pods) != 0 {
		t.Errorf("%v, %v, want none", pods, err)
	}
}

// The place of a node without a name or a flag is that of its enrolled pods' workloads.
func TestLocalityOfAnEnrolledPod(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	lb := http + "load_balancing { mode: STRICT routing_preference: ZONE } "
	apply(t, s, delta(list(svc("s", vip, lb),
		pod("a", "10.0.0.1", in("s")+`locality { region: "r" zone: "1" }`), pod("b", "10.0.0.2", in("s")+`locality { region: "r" zone: "2" }`))))
	if got := s.live.frontendText(vip, 80); got != "-" {
		t.Errorf("nowhere: %s", got)
	}
	enrol(k, 0x77, "10.0.0.2")
	refresh(t, s)
	if got := s.live.frontendText(vip, 80); got != "10.0.0.2:8080 1/1" {
		t.Errorf("in zone 2: %s", got)
	}
	k.settle(nodeSettings{region: "r", zone: "1", waypointPort: 15019})
	refresh(t, s)
	if got := s.live.frontendText(vip, 80); got != "10.0.0.1:8080 1/1" {
		t.Errorf("in zone 1 by flag: %s", got)
	}
	k.settle(nodeSettings{region: "r", zone: "1", waypointPort: 99})
	apply(t, s, delta(list(svc("w", "10.96.0.9", ""), svc("s", vip, http+`waypoint { hostname { namespace: "ns" hostname: "w" } }`))))
	refresh(t, s)
	if got := s.live.frontendText(vip, 80); got != "10.0.0.1:8080 1/2, 10.0.0.2:8080 1/2 via 10.96.0.9:99 1/1" {
		t.Errorf("another waypoint port: %s", got)
	}
	k.checkWhole(s)
}

// Where another process finds the node in another network, addresses are other workloads'
// there, and the image is made anew for them.
func TestAnotherNetwork(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	deny := policy(`name: "deny" namespace: "ns" scope: NAMESPACE action: DENY groups { rules { matches { principals { suffix: "sa/bad" } } } }`)
	twins := list(deny, pod("server", "10.0.0.9", `network: "far" node: "n1"`), pod("near", "10.0.0.9", `network: "near" node: "n2"`),
		pod("a-near", "10.0.0.1", `network: "near" service_account: "bad"`), pod("a-far", "10.0.0.1", `network: "far" service_account: "good"`))
	k.settle(nodeSettings{name: "n1"})
	refresh(t, s)
	apply(t, s, delta(twins))
	for _, tc := range []struct {
		node string
		want bool
	}{{"n1", true}, {"n2", false}, {"n1", true}} {
		k.settle(nodeSettings{name: tc.node})
		s := k.open(Options{})
		refresh(t, s)
		from, to := s.live.peers[netip.MustParseAddr("10.0.0.1")], s.live.peers[netip.MustParseAddr("10.0.0.9")]
		d := authz.ImageOf(s.maps.image(true)).Decide(uint32(from.identity), uint32(to.pset),
			authz.Packet{Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.9"), Port: 80})
		if d.Allowed != tc.want {
			t.Errorf("on node %s: %+v, want %v", tc.node, d, tc.want)
		}
		generation := s.maps.generation()
		if refresh(t, k.open(Options{})); s.maps.generation() != generation {
			t.Errorf("on node %s: a refresh of what is whole wrote", tc.node)
		}
	}
}

// What applies to an enrolled pod applies at its addresses that no workload has.
func TestFurtherAddressesOfAPod(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{HostAddresses: fixed(netip.MustParseAddr("10.0.0.254"))})
	apply(t, s, delta(list(pod("a", "10.0.0.2", ""), policy(`name: "deny" namespace: "ns" scope: NAMESPACE action: DENY groups { rules { matches { } } }`))))
	link := netip.MustParseAddr("fe80::2")
	want := func(when string, there bool) {
		t.Helper()
		own, got := s.live.peers[netip.MustParseAddr("10.0.0.2")], s.live.peers[link]
		if there && (got.pset != own.pset || got.pset == 0 || got.identity != 0 || uint32(got.flags) != peerWorkload) {
			t.Errorf("%s: %+v, its pod's is %+v", when, got, own)
		}
		if _, ok := s.live.peers[link]; ok != there {
			t.Errorf("%s: known %v, want %v", when, ok, there)
		}
		if there {
			k.checkWhole(s)
		}
	}
	want("not enrolled", false)
	e := enrol(k, 0x77, "10.0.0.2", "fe80::2", "10.0.0.254")
	refresh(t, s)
	want("enrolled", true)
	if p := s.live.peers[netip.MustParseAddr("10.0.0.254")]; uint32(p.flags) != peerNode {
		t.Errorf("the node's own address: %+v", p)
	}
	apply(t, s, delta(list(pod("a", "10.0.0.2", `authorization_policies: "ns/x"`))))
	want("other policies", true)
	apply(t, s, delta(nil, "a"))
	want("workload gone", false)
	apply(t, s, delta(list(pod("a", "10.0.0.2", ""))))
	want("workload back", true)
	if err := bpfmap.Delete(k.fds["km_netns"], raw(&e.cookie)); err != nil {
		t.Fatal(err)
	}
	refresh(t, s)
	want("left", false)
}
