// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

// dice makes policies and packets from few values, so that they meet.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 1))} }

func (d dice) one(in int) bool { return d.IntN(in) == 0 }

func pick[T any](d dice, v ...T) T { return v[d.IntN(len(v))] }

var (
	namespaces = []string{"a", "ab", "b", "prod-a", "prod-b", "b-test"}
	accounts   = []string{"s", "t", "st"}
	domains    = []string{"cluster.local", "td"}
	v4         = []string{"10.0.0.0", "10.0.0.1", "10.0.0.127", "10.0.0.128", "10.0.1.0", "10.1.0.0", "0.0.0.0", "255.255.255.255", "127.0.0.1"}
	v6         = []string{"fd00::1", "fd00::2", "fd00:0:0:1::", "fd01::", "::", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::fffe:ffff:ffff", "::1:0:0:0"}
	ports      = []uint32{0, 80, 81, 8080, 9090, 65535}
)

func (d dice) identity() Identity {
	return Identity{pick(d, domains...), pick(d, namespaces...), pick(d, accounts...)}
}

func (d dice) text(values []string) *security.StringMatch {
	v := pick(d, values...)
	switch d.IntN(7) {
	case 0:
		return &security.StringMatch{MatchType: &security.StringMatch_Presence{Presence: &emptypb.Empty{}}}
	case 1:
		return &security.StringMatch{MatchType: &security.StringMatch_Prefix{Prefix: v[:d.IntN(len(v)+1)]}}
	case 2:
		return &security.StringMatch{MatchType: &security.StringMatch_Suffix{Suffix: v[d.IntN(len(v)+1):]}}
	}
	return &security.StringMatch{MatchType: &security.StringMatch_Exact{Exact: v}}
}

func (d dice) principal() *security.StringMatch {
	p := d.identity().Principal()
	return d.text([]string{p, p, p, spiffe + p})
}

func (d dice) addr() netip.Addr {
	if d.one(3) {
		return netip.MustParseAddr(pick(d, v6...))
	}
	return netip.MustParseAddr(pick(d, v4...))
}

func (d dice) prefix() *security.Address {
	a := d.addr()
	b, n := a.AsSlice(), d.IntN(a.BitLen()+1)
	if d.one(3) {
		n = a.BitLen()
	}
	if a.Is4() && d.one(8) {
		m := a.As16()
		b, n = m[:], n+96
	}
	return &security.Address{Address: b, Length: uint32(n)}
}

// some is no value most of the time.
func some[T any](d dice, value func() T) []T {
	if !d.one(6) {
		return nil
	}
	out := make([]T, 1+d.IntN(3))
	for i := range out {
		out[i] = value()
	}
	return out
}

func (d dice) match() *security.Match {
	ns := func() *security.StringMatch { return d.text(namespaces) }
	sa := func() *security.ServiceAccountMatch {
		return &security.ServiceAccountMatch{Namespace: pick(d, namespaces...), ServiceAccount: pick(d, accounts...)}
	}
	port := func() uint32 { return pick(d, ports...) }
	return &security.Match{
		Namespaces: some(d, ns), NotNamespaces: some(d, ns),
		ServiceAccounts: some(d, sa), NotServiceAccounts: some(d, sa),
		Principals: some(d, d.principal), NotPrincipals: some(d, d.principal),
		SourceIps: some(d, d.prefix), NotSourceIps: some(d, d.prefix),
		DestinationIps: some(d, d.prefix), NotDestinationIps: some(d, d.prefix),
		DestinationPorts: some(d, port), NotDestinationPorts: some(d, port),
	}
}

func (d dice) policy(name string) *security.Authorization {
	a := &security.Authorization{
		Name: name, Namespace: pick(d, namespaces...),
		Scope:  pick(d, security.Scope_GLOBAL, security.Scope_NAMESPACE, security.Scope_WORKLOAD_SELECTOR),
		Action: pick(d, security.Action_ALLOW, security.Action_DENY),
	}
	for range d.IntN(4) {
		g := &security.Group{}
		for range d.IntN(4) {
			r := &security.Rules{}
			for range d.IntN(4) {
				r.Matches = append(r.Matches, d.match())
			}
			g.Rules = append(g.Rules, r)
		}
		a.Groups = append(a.Groups, g)
	}
	return a
}

func (d dice) input() *Input {
	in := &Input{Identities: make([]Identity, 1), Sets: make([]Set, 1)}
	for i := range 1 + d.IntN(8) {
		in.Policies = append(in.Policies, Policy{uint32(i + 1), d.policy(fmt.Sprint("p", i))})
	}
	for range d.IntN(20) {
		if d.one(10) {
			in.Identities = append(in.Identities, Identity{})
			continue
		}
		in.Identities = append(in.Identities, d.identity())
	}
	for range d.IntN(10) {
		s := Set{Known: !d.one(10)}
		if s.Known {
			s.Namespace = pick(d, namespaces...)
			for _, p := range in.Policies {
				if d.one(2) {
					s.Selected = append(s.Selected, nameOf(&p))
				}
			}
			slices.Sort(s.Selected)
		}
		in.Sets = append(in.Sets, s)
	}
	return in
}

// packet is a packet to a pod of the set, and the index of its source's identity.
func (d dice) packet(in *Input) (set int, identity uint32, p Packet) {
	i := d.IntN(len(in.Identities))
	p = Packet{Identity: in.Identities[i], Source: d.addr(), Destination: d.addr(), Port: uint16(pick(d, ports...))}
	if d.one(10) {
		p.Port = uint16(d.Uint32())
	}
	return d.IntN(len(in.Sets)), uint32(i), p
}

// The image decides as the messages read, and names the same policy.
func TestRandom(t *testing.T) {
	const seed, inputs, packets = 1, 2000, 100
	count := map[string]int{}
	d := newDice(seed)
	for i := range inputs {
		in := d.input()
		img, err := Compile(in)
		if err != nil {
			t.Fatalf("seed %d, input %d: %v", seed, i, err)
		}
		for range packets {
			set, identity, p := d.packet(in)
			want, got := Evaluate(in, set, p), img.Decide(identity, uint32(set), p)
			if want != got {
				t.Fatalf("seed %d, input %d: set %+v, packet %+v: image says %+v, want %+v\n%s",
					seed, i, in.Sets[set], p, got, want, dump(in))
			}
			switch {
			case want.Allowed && img.hasAllow(uint32(set)):
				count["allowed by a policy"]++
			case want.Allowed:
				count["allowed by none"]++
			case want.Policy != 0:
				count["denied"]++
			default:
				count["not allowed"]++
			}
		}
	}
	t.Logf("seed %d: %d pairs: %v", seed, inputs*packets, count)
	for _, what := range []string{"allowed by a policy", "allowed by none", "denied", "not allowed"} {
		if count[what] < inputs*packets/20 {
			t.Errorf("%s: only %d of %d: the mix is poor", what, count[what], inputs*packets)
		}
	}
}

func (img *Image) hasAllow(set uint32) bool {
	h := &entries[imageHead](img, 0, 1)[0]
	return entries[setEntry](img, uint32(h.psets), int(h.n_psets))[set].flags&setAllow != 0
}

func dump(in *Input) string {
	var s string
	for _, p := range in.Policies {
		s += protojson.Format(p.Authorization) + "\n"
	}
	return s
}
