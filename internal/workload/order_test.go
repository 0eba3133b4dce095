// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// world is a random set of resources that refer to each other, and clash.
func world(r *rand.Rand) []proto.Message {
	const services, pods = 5, 12
	var all []proto.Message
	waypoint := func() string {
		switch r.IntN(6) {
		case 0:
			return fmt.Sprintf(`waypoint { hostname { namespace: "ns" hostname: "s%d" } } `, r.IntN(services+1))
		case 1:
			return fmt.Sprintf(`waypoint { address { address: "\n\x60\x00\x%02x" } } `, r.IntN(services+2))
		case 2:
			return fmt.Sprintf(`waypoint { address { address: "\n\x00\x00\x%02x" } } `, r.IntN(pods))
		}
		return ""
	}
	for i := range services {
		lb := []string{"", "load_balancing { mode: FAILOVER routing_preference: REGION } ",
			"load_balancing { mode: STRICT routing_preference: NODE health_policy: ALLOW_ALL } "}[r.IntN(3)]
		vips := fmt.Sprintf("10.96.0.%d", r.IntN(services)) // some twice
		if r.IntN(2) == 0 {
			vips += fmt.Sprintf(" fd96::%d", i+1)
		}
		all = append(all, svc(fmt.Sprintf("s%d", i), vips, http+lb+waypoint()))
	}
	for i := range pods {
		rest := fmt.Sprintf(`node: "n%d" service_account: "sa%d" `, r.IntN(3), r.IntN(3)) + waypoint()
		for j := range services {
			if r.IntN(3) == 0 {
				rest += in(fmt.Sprintf("s%d", j), 80, uint32(8000+r.IntN(2)))
			}
		}
		rest += []string{"", "status: UNHEALTHY ", "capacity { value: 3 } ", "network_mode: HOST_NETWORK ",
			`locality { region: "r" } `, `authorization_policies: "ns/p0" `, `network: "far" `}[r.IntN(7)]
		addrs := fmt.Sprintf("10.0.0.%d", r.IntN(pods)+1)
		if r.IntN(3) == 0 {
			addrs += fmt.Sprintf(" fd00::%d", i+1)
		}
		all = append(all, pod(fmt.Sprintf("p%d", i), addrs, rest))
	}
	for i := range 2 {
		all = append(all, policy(fmt.Sprintf(`name: "p%d" namespace: "ns" scope: %s action: DENY groups { rules { matches {
			principals { exact: "cluster.local/ns/ns/sa/sa%d" } } } }`, i, []string{"WORKLOAD_SELECTOR", "NAMESPACE"}[i], i)))
	}
	return all
}

// Whatever the order in which resources come, and whatever was there before, the data
// plane ends up with the same.
func TestOrderDoesNotMatter(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		final := world(r)
		node := nodeSettings{name: "n1"}
		hosts := map[netip.Addr]struct{}{netip.MustParseAddr("10.0.0.3"): {}}
		start := func() *live {
			l := without(node)
			l.model.setHosts(hosts)
			return l
		}
		whole := start()
		whole.apply(t, delta(final))
		want := whole.dump()

		l := start()
		if seed%2 == 0 { // another world first, replaced bit by bit
			l.apply(t, delta(world(r)))
		}
		steps := slices.Clone(final)
		r.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
		for len(steps) > 0 {
			n := min(1+r.IntN(4), len(steps))
			l.apply(t, delta(steps[:n]))
			steps = steps[n:]
		}
		if got := l.dump(); got != want {
			t.Fatalf("seed %d:\n%s\nwant\n%s", seed, got, want)
		}
		l.check(t)
	}
}

// check is what must hold of any state.
func (l *live) check(t testing.TB) {
	t.Helper()
	ids := map[uint32]spec{}
	blocks := map[uint32]int{}
	counters := map[uint32]frontendKey{}
	anyPort := 0
	for k, f := range l.frontends {
		if k.port == 0 {
			anyPort++
		}
		if uint64(f.value.seal) != k.seal(&f.value) {
			t.Errorf("%s: seal", k)
		}
		for _, p := range []struct {
			s *set
			v setC
		}{{f.direct, f.value.direct}, {f.via, f.value.via}} {
			if (p.s == nil) != (p.v.n == 0) {
				t.Fatalf("%s: set %v, %v", k, p.s, p.v)
			}
			if p.s == nil {
				continue
			}
			if s, again := ids[p.s.id]; again && s != p.s.spec {
				t.Errorf("set %d is two", p.s.id)
			}
			ids[p.s.id] = p.s.spec
			blocks[p.s.id] = (int(p.v.n) + blockSize - 1) / blockSize
			if c := uint32(p.v.counter); c != 0 {
				if other, again := counters[c]; again {
					t.Errorf("counter %d is of %s and %s", c, k, other)
				}
				counters[c] = k
				if !l.counters.taken[c] {
					t.Errorf("counter %d is free and used", c)
				}
			} else if uint64(p.v.n)*uint64(p.v.total) > 1 {
				t.Errorf("%s: no counter", k)
			}
		}
	}
	taken := len(l.counters.taken) - 1 - l.counters.free
	if taken != len(counters) {
		t.Errorf("%d counters taken, %d used", taken, len(counters))
	}
	if anyPort != l.anyPort {
		t.Errorf("%d frontends of port 0, counted %d", anyPort, l.anyPort)
	}
	for id, n := range l.blocks {
		if blocks[id] != n {
			t.Errorf("set %d has %d blocks, want %d", id, n, blocks[id])
		}
	}
	if len(blocks) != len(l.blocks) {
		t.Errorf("%d sets in use, blocks of %d", len(blocks), len(l.blocks))
	}
	for a, p := range l.peers {
		if uint64(p.seal) != peerSeal(a, &p) {
			t.Errorf("peer %s: seal", a)
		}
		want, ok := l.model.peerOf(a)
		if !ok || keyAt(l.identities, uint32(p.identity)) != want.identity || keyAt(l.policySets, uint32(p.pset)) != want.set {
			t.Errorf("peer %s: %+v, want %+v", a, p, want)
		}
	}
}

// What a real control plane sent, in the order in which it came and in any other.
func TestCaptures(t *testing.T) {
	files, err := filepath.Glob("testdata/ambient-real-live/*.pb")
	if err != nil || len(files) != 4 {
		t.Fatalf("%v, %v", files, err)
	}
	l := without(nodeSettings{name: "node1"})
	for i, f := range files {
		r := l.apply(t, load(t, f))
		if len(r.Warnings)+len(r.Notes) > 0 {
			t.Errorf("%s: %q %q", f, r.Warnings, r.Notes)
		}
		echoC := "none"
		if i == 2 {
			echoC = "10.244.1.11:8080 1/2, 10.244.1.12:8080 1/2"
		}
		if got := l.frontendText("10.96.1.9", 81); got != echoC {
			t.Errorf("after %s: echo-c is %s, want %s", f, got, echoC)
		}
	}
	for _, tc := range []struct {
		addr string
		port uint16
		want string
	}{
		{"10.96.1.1", 80, "10.244.1.11:8080 1/3, 10.244.1.12:8080 1/3, 10.244.2.13:8080 1/3"},
		{"10.96.1.2", 90, "10.244.1.21:9090 1/3, 10.244.1.22:9090 1/3, 10.244.2.23:9090 1/3 via 10.244.1.50:15019 1/1"},
		{"10.96.1.50", 15008, "10.244.1.50:15008 1/1"},
		{"10.96.0.1", 443, "-"},
	} {
		if got := l.frontendText(tc.addr, tc.port); got != tc.want {
			t.Errorf("%s:%d: %s, want %s", tc.addr, tc.port, got, tc.want)
		}
	}
	first := without(nodeSettings{name: "node1"})
	first.apply(t, load(t, files[0], files[1]))
	if first.dump() != l.dump() {
		t.Errorf("what came and went left traces:\n%s\nwant\n%s", l.dump(), first.dump())
	}
	fromJSON := without(nodeSettings{name: "node1"})
	for _, f := range files {
		fromJSON.apply(t, load(t, f[:len(f)-len("pb")]+"json"))
	}
	if fromJSON.dump() != l.dump() {
		t.Error("JSON gives another state than binary")
	}
	p := l.peers[netip.MustParseAddr("10.244.1.50")]
	if p.flags != peerWorkload|peerWaypoint || keyAt(l.identities, uint32(p.identity)).Principal() != "cluster.local/ns/ns/sa/waypoint" {
		t.Errorf("waypoint's peer: %+v", p)
	}
	echo := l.model.res[Workload]["Kubernetes//Pod/ns/echo-a-1"]
	v := l.workloadView(echo, echo.workload(), l.model.sorted(Policy))
	if !slices.Equal(v.Policies, []string{"ns/allow-a", "ns/deny-cidr"}) || v.Identity != "cluster.local/ns/ns/sa/echo-a" {
		t.Errorf("%+v", v)
	}
	l.check(t)
}

// A complete response takes away what it does not name, of its kind.
func TestComplete(t *testing.T) {
	l := without(nodeSettings{})
	l.apply(t, delta(list(svc("s", vip, http), svc("u", "10.96.0.2", http), pod("a", "10.0.0.1", in("s")), policy(`name: "p" namespace: "ns"`))))
	r := l.apply(t, []xds.Document{{Path: "whole", Kind: xds.KindAddress, Complete: true, Resources: list(address(svc("s", vip, http)))}})
	if c := r.Counts; c[Service] != (xds.Count{Deleted: 1, Unchanged: 1}) || c[Workload] != (xds.Count{Deleted: 1}) || c[Policy] != (xds.Count{}) {
		t.Errorf("%+v", c)
	}
	if len(l.model.res[Policy]) != 1 || l.frontendText("10.96.0.2", 80) != "none" || l.frontendText(vip, 80) != "-" {
		t.Error(l.dump())
	}
	// Later documents go over earlier ones, as one change.
	docs := append(delta(nil, "ns/s"), delta(list(svc("s", vip, "ports { service_port: 81 }"), pod("b", "10.0.0.2", in("s", 81, 1))))...)
	l.apply(t, docs)
	if l.frontendText(vip, 80) != "none" || l.frontendText(vip, 81) != "10.0.0.2:1 1/1" {
		t.Error(l.dump())
	}
}
