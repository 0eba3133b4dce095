// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

func exact(s string) *security.StringMatch {
	return &security.StringMatch{MatchType: &security.StringMatch_Exact{Exact: s}}
}

// cluster is n policies of one principal each and identities in 100 namespaces. selected:
// each policy is of one workload's set; else all are of one namespace.
func cluster(n, identities int, action security.Action, selected bool) *Input {
	in := &Input{Identities: make([]Identity, 1), Sets: []Set{{}, {Known: true, Namespace: "ns-0"}}}
	for i := range identities {
		in.Identities = append(in.Identities, Identity{"cluster.local", fmt.Sprintf("ns-%d", i%100), fmt.Sprintf("sa-%d", i)})
	}
	for i := range n {
		a := &security.Authorization{
			Name: fmt.Sprintf("policy-%d", i), Namespace: "ns-0", Scope: security.Scope_NAMESPACE, Action: action,
			Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{{
				Principals: []*security.StringMatch{exact(in.Identities[1+(i*7)%identities].Principal())},
			}}}}}},
		}
		if selected {
			a.Scope = security.Scope_WORKLOAD_SELECTOR
			in.Sets = append(in.Sets, Set{Known: true, Namespace: "ns-0", Selected: []string{"ns-0/" + a.Name}})
		}
		in.Policies = append(in.Policies, Policy{uint32(i + 1), a})
	}
	return in
}

// mixed is n DENY policies with an address, a port and a namespace each.
func mixed(n, identities int) *Input {
	in := cluster(n, identities, security.Action_DENY, true)
	for i, p := range in.Policies {
		p.Groups[0].Rules = append(p.Groups[0].Rules, &security.Rules{Matches: []*security.Match{{
			SourceIps:        []*security.Address{{Address: []byte{10, byte(i >> 8), byte(i), 0}, Length: 24}},
			DestinationPorts: []uint32{uint32(8000 + i%500)},
		}, {NotNamespaces: []*security.StringMatch{exact(fmt.Sprintf("ns-%d", i%100))}}}})
	}
	return in
}

func BenchmarkCompile(b *testing.B) {
	for _, c := range []struct {
		name string
		in   *Input
	}{
		{"allow", cluster(1000, 10000, security.Action_ALLOW, false)},
		{"deny", cluster(1000, 10000, security.Action_DENY, false)},
		{"selected", cluster(1000, 10000, security.Action_ALLOW, true)},
		{"mixed", mixed(1000, 10000)},
		{"deny-10000", cluster(10000, 10000, security.Action_DENY, false)},
		{"identities-1000", cluster(1000, 1000, security.Action_DENY, false)},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				img, err := Compile(c.in)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(img.Slots)), "slots")
				b.ReportMetric(float64(entries[imageHead](img, 0, 1)[0].rows), "rows")
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	in := mixed(1000, 10000)
	img, err := Compile(in)
	if err != nil {
		b.Fatal(err)
	}
	p := Packet{Source: netip.MustParseAddr("10.0.1.1"), Destination: netip.MustParseAddr("10.0.0.1"), Port: 8001}
	b.ResetTimer()
	for i := range b.N {
		img.Decide(uint32(i%10000), uint32(i%1000), p)
	}
}
