// SPDX-License-Identifier: Apache-2.0

package xdp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/kmesh-net/kmesh-node/internal/authz"
	"github.com/kmesh-net/kmesh-node/proto/security"
)

// dice makes policies and packets from few values, so that they meet.
type dice struct{ *rand.Rand }

func pick[T any](d dice, v ...T) T { return v[d.IntN(len(v))] }

var (
	people = []authz.Identity{alice, bob, {TrustDomain: "cluster.local", Namespace: "to", ServiceAccount: "carol"},
		{TrustDomain: "other", Namespace: "from", ServiceAccount: "alice"}}
	places = []netip.Addr{client4, server4, client6, server6, netip.MustParseAddr("10.9.0.130"),
		netip.MustParseAddr("10.8.255.255"), netip.MustParseAddr("fd00:9:0:1::"), netip.MustParseAddr("::ffff:10.9.0.1").Unmap()}
	ports = []uint32{80, 81, 443, 8080, 65535}
)

func (d dice) text(v string) *security.StringMatch {
	switch d.IntN(6) {
	case 0:
		return &security.StringMatch{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}}
	case 1:
		return &security.StringMatch{MatchType: &security.StringMatch_Prefix{Prefix: v[:d.IntN(len(v)+1)]}}
	case 2:
		return &security.StringMatch{MatchType: &security.StringMatch_Suffix{Suffix: v[d.IntN(len(v)+1):]}}
	}
	return &security.StringMatch{MatchType: &security.StringMatch_Exact{Exact: v}}
}

func (d dice) prefix() *security.Address {
	b := pick(d, places...).AsSlice()
	return &security.Address{Address: b, Length: uint32(pick(d, len(b)*8, len(b)*6, d.IntN(len(b)*8+1)))}
}

func some[T any](d dice, value func() T) (v []T) {
	for range max(0, d.IntN(7)-4) {
		v = append(v, value())
	}
	return v
}

func (d dice) match() *security.Match {
	namespace := func() *security.StringMatch { return d.text(pick(d, people...).Namespace) }
	principal := func() *security.StringMatch { return d.text(pick(d, people...).Principal()) }
	port := func() uint32 { return pick(d, ports...) }
	return &security.Match{Namespaces: some(d, namespace), NotNamespaces: some(d, namespace),
		Principals: some(d, principal), NotPrincipals: some(d, principal),
		SourceIps: some(d, d.prefix), NotSourceIps: some(d, d.prefix),
		DestinationIps: some(d, d.prefix), NotDestinationIps: some(d, d.prefix),
		DestinationPorts: some(d, port), NotDestinationPorts: some(d, port)}
}

func (d dice) policy(id int) authz.Policy {
	p := &security.Authorization{Name: fmt.Sprint("p", id), Namespace: "to",
		Scope:  pick(d, security.Scope_GLOBAL, security.Scope_NAMESPACE, security.Scope_WORKLOAD_SELECTOR),
		Action: pick(d, security.Action_ALLOW, security.Action_DENY, security.Action_DENY)}
	for range 1 + d.IntN(2) {
		g := &security.Group{}
		for range 1 + d.IntN(2) {
			g.Rules = append(g.Rules, &security.Rules{Matches: []*security.Match{d.match(), d.match()}[:1+d.IntN(2)]})
		}
		p.Groups = append(p.Groups, g)
	}
	return authz.Policy{ID: uint32(id), Authorization: p}
}

// TestRandom: the program decides as the plain evaluator does, and counts a denial under
// the same policy.
func TestRandom(t *testing.T) {
	a := load(t, 256)
	seed := uint64(20261123)
	t.Log("seed", seed)
	d := dice{rand.New(rand.NewPCG(seed, 1))}
	count := map[uint32]int{}
	for round := range 100 {
		in := &authz.Input{Identities: append([]authz.Identity{{}}, people...), Sets: []authz.Set{{},
			{Known: true, Namespace: "to"}, {Known: true, Namespace: "to", Selected: []string{"to/p1", "to/p3"}}, {Known: true, Namespace: "from"}}}
		for i := range 1 + d.IntN(6) {
			in.Policies = append(in.Policies, d.policy(i+1))
		}
		if round%20 == 19 {
			d.crowd(in)
		}
		a.apply(in)
		for range 60 {
			count[a.compare(d, in)]++
		}
	}
	t.Log("verdicts", count)
	if count[pass] < 500 || count[back] < 500 {
		t.Error("too few of one kind to say anything")
	}
}

// crowd adds more rows than one slot has: people that are denied one by one, some ports.
func (d dice) crowd(in *authz.Input) {
	for i := range 1500 {
		who := authz.Identity{TrustDomain: "cluster.local", Namespace: "crowd", ServiceAccount: fmt.Sprint("s", i)}
		in.Identities = append(in.Identities, who)
		m := &security.Match{Principals: []*security.StringMatch{{MatchType: &security.StringMatch_Exact{Exact: who.Principal()}}},
			DestinationPorts: []uint32{pick(d, ports...), pick(d, ports...)}}
		in.Policies = append(in.Policies, authz.Policy{ID: uint32(1000 + i), Authorization: &security.Authorization{
			Name: fmt.Sprint("c", i), Namespace: "to", Scope: security.Scope_GLOBAL, Action: security.Action_DENY,
			Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{m}}}}}}})
	}
}

// compare gives one packet to both, and returns the verdict.
func (a *auth) compare(d dice, in *authz.Input) uint32 {
	a.t.Helper()
	identity, set := d.IntN(len(in.Identities)), d.IntN(len(in.Sets))
	f := pick(d, syn4(), syn6())
	for _, s := range []*netip.Addr{&f.src, &f.dst} {
		for v4 := f.src.Is4(); ; {
			if *s = pick(d, places...); s.Is4() == v4 {
				break
			}
		}
	}
	if f.src == f.dst {
		set, identity = 0, 0
	}
	f.sport, f.dport = uint16(d.IntN(65536)), uint16(pick(d, ports...))
	a.peer(f.src, peer{identity: word(identity)})
	a.peer(f.dst, peer{identity: word(identity), pset: word(set)})
	want := authz.Evaluate(in, set, authz.Packet{Identity: in.Identities[identity], Source: f.src, Destination: f.dst, Port: f.dport})
	before := a.denied(want.Policy)
	got, _ := a.run(f.bytes())
	if (got == pass) != want.Allowed || (got != pass && got != back) {
		a.t.Fatalf("%s (%v) to %s:%d, set %d: verdict %d, want %+v of\n%v", f.src, in.Identities[identity], f.dst, f.dport, set, got, want, in.Policies)
	}
	if !want.Allowed && a.denied(want.Policy) != before+1 {
		a.t.Fatalf("the denial is not counted under policy %d", want.Policy)
	}
	return got
}

// BenchmarkPacket gives ns per run in the kernel, by TEST_RUN itself.
func BenchmarkPacket(b *testing.B) {
	const repeat = 200_000
	for _, n := range []int{1, 100, 1000} {
		for _, flows := range []int{1, 1024} {
			b.Run(fmt.Sprintf("policies=%d/cached=%v", n, flows > 1), func(b *testing.B) {
				a := load(b, flows)
				texts := make([]string, n)
				for i := range texts {
					texts[i] = denyFrom(authz.Identity{TrustDomain: "cluster.local", Namespace: "x", ServiceAccount: fmt.Sprint("s", i)})
				}
				in := policies(b, texts...)
				for i := range n {
					in.Identities = append(in.Identities, authz.Identity{TrustDomain: "cluster.local", Namespace: "x", ServiceAccount: fmt.Sprint("s", i)})
				}
				a.apply(in)
				a.peer(client4, peer{identity: 1})
				a.peer(server4, peer{identity: 2, pset: 1})
				for range b.N {
					b.ReportMetric(a.time(syn4(), repeat), "ns/syn")
					if flows > 1 {
						b.ReportMetric(a.time(with(syn4(), func(f *frame) { f.flags, f.data = ack, make([]byte, 100) }), repeat), "ns/known")
					}
				}
			})
		}
	}
}
