// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

// An error names the field by path.
func TestValidate(t *testing.T) {
	second := func(m *security.Match) *security.Authorization {
		return denyOf("p", group(nil), group(nil, []*security.Match{{}, m}))
	}
	const place = "groups[1].rules[1].matches[1]"
	newer := &security.Match{}
	newer.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	for _, c := range []struct {
		a    *security.Authorization
		want string
	}{
		{second(&security.Match{SourceIps: []*security.Address{address(0, 0), address(0, 32), {Address: []byte{1, 2, 3}}}}),
			place + ".source_ips[2].address: 3 bytes, want 4 or 16"},
		{second(&security.Match{NotSourceIps: []*security.Address{{}}}), place + ".not_source_ips[0].address: 0 bytes, want 4 or 16"},
		{second(&security.Match{DestinationIps: []*security.Address{address(0, 33)}}), place + ".destination_ips[0].length: 33, want at most 32"},
		{second(&security.Match{NotDestinationIps: []*security.Address{{Address: make([]byte, 16), Length: 129}}}),
			place + ".not_destination_ips[0].length: 129, want at most 128"},
		{second(&security.Match{DestinationPorts: []uint32{65536}}), place + ".destination_ports[0]: 65536, want at most 65535"},
		{second(&security.Match{NotDestinationPorts: []uint32{1, 1 << 31}}), place + ".not_destination_ports[1]: 2147483648, want at most 65535"},
		{second(&security.Match{Namespaces: []*security.StringMatch{{}}}), place + ".namespaces[0]: empty, want exact, prefix, suffix or presence"},
		{second(&security.Match{NotNamespaces: []*security.StringMatch{exact("a"), {}}}), place + ".not_namespaces[1]: empty"},
		{second(&security.Match{Principals: []*security.StringMatch{{}}}), place + ".principals[0]: empty"},
		{second(&security.Match{NotPrincipals: []*security.StringMatch{{}}}), place + ".not_principals[0]: empty"},
		{second(&security.Match{ServiceAccounts: []*security.ServiceAccountMatch{{Namespace: "a"}}}), place + ".service_accounts[0].serviceAccount: empty"},
		{second(&security.Match{NotServiceAccounts: []*security.ServiceAccountMatch{{ServiceAccount: "a"}}}), place + ".not_service_accounts[0].namespace: empty"},
		{second(newer), place + ": holds a field that is not known"},
		{&security.Authorization{Namespace: "ns"}, "name: empty"},
		{&security.Authorization{Name: "p", Scope: 3}, "scope: 3 is not known, want GLOBAL, NAMESPACE or WORKLOAD_SELECTOR"},
		{&security.Authorization{Name: "p", Action: 2}, "action: 2 is not known, want ALLOW or DENY"},
	} {
		err := Validate(c.a)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q, want %q", err, c.want)
		}
		if _, err := Compile(&Input{Policies: []Policy{{1, c.a}}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Compile: %q, want %q", err, c.want)
		}
	}
	if err := Validate(second(&security.Match{SourceIps: []*security.Address{address(1, 32)}, DestinationPorts: []uint32{65535}})); err != nil {
		t.Error(err)
	}
}
