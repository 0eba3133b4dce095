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

// large is an input of many row slots, with sets and identities that few policies name.
func (d dice) large(policies int) *Input {
	in := d.input()
	in.Policies = nil
	for i := range 200 {
		in.Identities = append(in.Identities, Identity{"cluster.local", fmt.Sprint("n", i%17), fmt.Sprint("s", i)})
	}
	for i := range 100 {
		in.Sets = append(in.Sets, Set{Known: true, Namespace: fmt.Sprint("n", i%17)})
	}
	for i := range policies {
		a := d.policy(fmt.Sprint("p", i))
		a.Namespace = fmt.Sprint("n", d.IntN(17))
		a.Groups = nil
		m := &security.Match{DestinationPorts: []uint32{d.Uint32N(2000)}, SourceIps: []*security.Address{d.prefix()}}
		if !d.one(3) {
			m.Principals = []*security.StringMatch{exact(pick(d, in.Identities[len(in.Identities)-200:]...).Principal())}
		}
		if d.one(2) {
			m.DestinationPorts = []uint32{pick(d, ports...)}
		}
		if a.Scope == security.Scope_GLOBAL && !d.one(50) {
			a.Scope = security.Scope_WORKLOAD_SELECTOR
		}
		a.Groups = []*security.Group{group([]*security.Match{m, d.match()}, []*security.Match{m})}
		for range 3 {
			s := &in.Sets[1+d.IntN(len(in.Sets)-1)]
			if s.Known {
				s.Selected = append(s.Selected, a.Namespace+"/"+a.Name)
			}
		}
		in.Policies = append(in.Policies, Policy{uint32(i + 1), a})
	}
	for i := range in.Sets {
		slices.Sort(in.Sets[i].Selected)
		in.Sets[i].Selected = slices.Compact(in.Sets[i].Selected)
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
	d := newDice(seed)
	count := counts{}
	for range inputs {
		in := d.input()
		d.compare(t, seed, in, packets, count)
	}
	t.Logf("seed %d: %v", seed, count)
	for _, what := range []string{"allowed by a policy", "allowed by none", "denied", "not allowed"} {
		if count[what] < inputs*packets/20 {
			t.Errorf("%s: only %d of %d: the mix is poor", what, count[what], inputs*packets)
		}
	}
}

// The same where vectors have many row slots, of which they leave some to the default.
func TestRandomLarge(t *testing.T) {
	const seed, packets = 3, 3000
	d := newDice(seed)
	count := counts{}
	for _, policies := range []int{300, 511, 512, 513, 1100, 4000} {
		in := d.large(policies)
		img := d.compare(t, seed, in, packets, count)
		h := &entries[imageHead](img, 0, 1)[0]
		t.Logf("%d policies: %d rows, %d slots, %d port slots", policies, h.rows, len(img.Slots), h.port_mask+1)
	}
	t.Logf("seed %d: %v", seed, count)
	for _, what := range []string{"allowed by a policy", "denied", "not allowed"} {
		if count[what] < 500 {
			t.Errorf("%s: only %d: the mix is poor", what, count[what])
		}
	}
}

type counts map[string]int

func (d dice) compare(t *testing.T, seed uint64, in *Input, packets int, count counts) *Image {
	t.Helper()
	img, err := Compile(in)
	if err != nil {
		t.Fatalf("seed %d: %v\n%s", seed, err, dump(in))
	}
	for range packets {
		set, identity, p := d.packet(in)
		want, got := Evaluate(in, set, p), img.Decide(identity, uint32(set), p)
		if want != got {
			t.Fatalf("seed %d: set %+v, packet %+v: image says %+v, want %+v\n%s", seed, in.Sets[set], p, got, want, dump(in))
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
	return img
}

func (img *Image) hasAllow(set uint32) bool {
	h := &entries[imageHead](img, 0, 1)[0]
	return entries[setEntry](img, uint32(h.psets), int(h.n_psets))[set].flags&setAllow != 0
}

func dump(in *Input) string {
	var s string
	for _, p := range in.Policies[:min(len(in.Policies), 10)] {
		s += protojson.Format(p.Authorization) + "\n"
	}
	return s
}
