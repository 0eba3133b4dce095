// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"encoding/json"
	"os"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

func captured(t *testing.T, file string) []Policy {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var response struct {
		Resources []struct{ Resource json.RawMessage }
	}
	if err := json.Unmarshal(raw, &response); err != nil {
		t.Fatal(err)
	}
	var out []Policy
	for _, r := range response.Resources {
		wrapped, a := &anypb.Any{}, &security.Authorization{}
		if err := protojson.Unmarshal(r.Resource, wrapped); err != nil {
			t.Fatal(err)
		}
		if err := wrapped.UnmarshalTo(a); err != nil {
			t.Fatal(err)
		}
		out = append(out, Policy{uint32(len(out) + 1), a})
	}
	return out
}

// What istiod sent decides as the AuthorizationPolicies that it was made of say.
func TestCaptures(t *testing.T) {
	for _, file := range []string{"ambient-real", "ambient-real-live"} {
		in := &Input{
			Policies: captured(t, "../workload/testdata/"+file+"/02-Authorization.json"),
			Identities: []Identity{
				{},
				{"cluster.local", "ns", "echo-b"},
				{"cluster.local", "bad", "echo-b"},
				{"cluster.local", "prod-x", "default"},
				{"cluster.local", "prod-x-test", "default"},
			},
			Sets: []Set{
				{},
				{Known: true, Namespace: "ns", Selected: []string{"ns/allow-a"}},
				{Known: true, Namespace: "ns"},
				{Known: true, Namespace: "other", Selected: []string{"istio-system/istio_converted_static_strict"}},
				{Known: true, Namespace: "other"},
			},
		}
		if len(in.Policies) != 3 {
			t.Fatalf("%s: %d policies, want 3", file, len(in.Policies))
		}
		const cidr, strict = 2, 3 // by their order in the file
		for i, name := range []string{"ns/allow-a", "ns/deny-cidr", "istio-system/istio_converted_static_strict"} {
			if got := nameOf(&in.Policies[i]); got != name {
				t.Fatalf("%s: policy %d is %s, want %s", file, i, got, name)
			}
		}
		// deny-cidr: port not 9090, from 10.244.2.0/24 but 10.244.2.13, namespace prod-* but
		// *-test, to 10.244.1.0/24.
		const in24, out24, to24 = "10.244.2.1", "10.244.3.1", "10.244.1.1"
		for _, c := range []struct {
			set      int
			identity int
			source   string
			dest     string
			port     uint16
			want     Decision
		}{
			{1, 1, out24, to24, 8080, Decision{Allowed: true}},
			{1, 1, out24, to24, 8081, Decision{}},
			{1, 2, out24, to24, 8080, Decision{}},
			{1, 0, out24, to24, 8080, Decision{}},
			{1, 3, in24, to24, 8080, Decision{Policy: cidr}},
			{1, 3, in24, to24, 9090, Decision{}},
			{1, 3, "10.244.2.13", to24, 8080, Decision{}},
			{1, 4, in24, to24, 8080, Decision{}},
			{2, 3, in24, to24, 8080, Decision{Policy: cidr}},
			{2, 3, in24, to24, 9090, Decision{Allowed: true}},
			{2, 3, in24, "10.244.2.1", 8080, Decision{Allowed: true}},
			{2, 3, "10.244.2.13", to24, 8080, Decision{Allowed: true}},
			{2, 4, in24, to24, 8080, Decision{Allowed: true}},
			{2, 0, in24, to24, 8080, Decision{Allowed: true}},
			{3, 0, in24, to24, 8080, Decision{Policy: strict}},
			{3, 1, in24, to24, 8080, Decision{Allowed: true}},
			{4, 0, in24, to24, 8080, Decision{Allowed: true}},
			{0, 3, in24, to24, 8080, Decision{Allowed: true}},
		} {
			p := from(in.Identities[c.identity], c.source, c.dest, c.port)
			if got := decide(t, in, c.set, p); got != c.want {
				t.Errorf("%s: set %d, %+v: %+v, want %+v", file, c.set, p, got, c.want)
			}
		}
	}
}
