// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

func policyOf(t *testing.T, text string) *security.Authorization {
	t.Helper()
	a := &security.Authorization{}
	if err := protojson.Unmarshal([]byte(text), a); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if a.Name == "" {
		a.Name = "p"
	}
	if err := Validate(a); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return a
}

// match is a DENY policy of one match.
func match(fields string) string {
	return `{"action": "DENY", "groups": [{"rules": [{"matches": [{` + fields + `}]}]}]}`
}

var (
	nobody    = Identity{}
	alice     = Identity{"cluster.local", "prod-a", "alice"}
	bob       = Identity{"cluster.local", "dev-b", "bob"}
	carol     = Identity{"other.domain", "prod-a", "carol"}
	everybody = []Identity{nobody, alice, bob, carol}
)

func from(i Identity, source, destination string, port uint16) Packet {
	return Packet{i, netip.MustParseAddr(source), netip.MustParseAddr(destination), port}
}

// decide asks the messages and the image, which must agree.
func decide(t *testing.T, in *Input, set int, p Packet) Decision {
	t.Helper()
	img, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	identity := -1
	for i, id := range in.Identities {
		if id == p.Identity {
			identity = i
		}
	}
	want, got := Evaluate(in, set, p), img.Decide(uint32(identity), uint32(set), p)
	if want != got {
		t.Errorf("%+v: the image says %+v, the messages %+v", p, got, want)
	}
	return got
}

// What one match matches, by field, kind and negation.
func TestMatch(t *testing.T) {
	const v4a, v4b, v6a, v6b = "10.0.0.1", "10.0.1.1", "fd00::1", "fd01::1"
	who := func(a, b, c, n bool) map[Packet]bool {
		out := map[Packet]bool{}
		for i, want := range []bool{n, a, b, c} {
			out[from(everybody[i], v4a, v4b, 80)] = want
		}
		return out
	}
	sources := func(a, b, c, d bool) map[Packet]bool {
		return map[Packet]bool{
			from(alice, v4a, v4b, 80): a, from(nobody, v4b, v4a, 80): b,
			from(alice, v6a, v6b, 80): c, from(nobody, v6b, v6a, 80): d,
		}
	}
	destinations := func(a, b, c, d bool) map[Packet]bool {
		return map[Packet]bool{
			from(alice, v4b, v4a, 80): a, from(nobody, v4a, v4b, 80): b,
			from(alice, v6b, v6a, 80): c, from(nobody, v6a, v6b, 80): d,
		}
	}
	numbers := func(want map[uint16]bool) map[Packet]bool {
		out := map[Packet]bool{}
		for port, w := range want {
			out[from(nobody, v4a, v4b, port)] = w
		}
		return out
	}
	// Addresses in JSON: 10.0.0.0 CgAAAA==, 10.0.0.1 CgAAAQ==, fd00:: /QAAAAAAAAAAAAAAAAAAAA==,
	// :: AAAAAAAAAAAAAAAAAAAAAA==, ::ffff:10.0.0.0 AAAAAAAAAAAAAP//CgAAAA==.
	for fields, packets := range map[string]map[Packet]bool{
		``: who(true, true, true, true),

		`"namespaces": [{"exact": "prod-a"}]`:                                     who(true, false, true, false),
		`"namespaces": [{"exact": "prod"}]`:                                       who(false, false, false, false),
		`"namespaces": [{"prefix": "prod"}]`:                                      who(true, false, true, false),
		`"namespaces": [{"suffix": "-b"}]`:                                        who(false, true, false, false),
		`"namespaces": [{"presence": {}}]`:                                        who(true, true, true, false),
		`"namespaces": [{"prefix": ""}]`:                                          who(true, true, true, false),
		`"namespaces": [{"exact": ""}]`:                                           who(false, false, false, false),
		`"namespaces": [{"exact": "x"}, {"exact": "dev-b"}]`:                      who(false, true, false, false),
		`"notNamespaces": [{"exact": "prod-a"}]`:                                  who(false, true, false, true),
		`"notNamespaces": [{"prefix": "dev"}]`:                                    who(true, false, true, true),
		`"notNamespaces": [{"suffix": "-a"}]`:                                     who(false, true, false, true),
		`"notNamespaces": [{"presence": {}}]`:                                     who(false, false, false, true),
		`"notNamespaces": [{"exact": "x"}, {"exact": "dev-b"}]`:                   who(true, false, true, true),
		`"namespaces": [{"prefix": "prod"}], "notNamespaces": [{"suffix": "-a"}]`: who(false, false, false, false),

		`"serviceAccounts": [{"namespace": "prod-a", "serviceAccount": "alice"}]`:    who(true, false, false, false),
		`"serviceAccounts": [{"namespace": "dev-b", "serviceAccount": "alice"}]`:     who(false, false, false, false),
		`"notServiceAccounts": [{"namespace": "prod-a", "serviceAccount": "alice"}]`: who(false, true, true, true),

		`"principals": [{"exact": "cluster.local/ns/prod-a/sa/alice"}]`:                    who(true, false, false, false),
		`"principals": [{"exact": "spiffe://cluster.local/ns/prod-a/sa/alice"}]`:           who(true, false, false, false),
		`"principals": [{"exact": "cluster.local/ns/prod-a/sa/alic"}]`:                     who(false, false, false, false),
		`"principals": [{"prefix": "cluster.local/"}]`:                                     who(true, true, false, false),
		`"principals": [{"prefix": "spiffe://other"}]`:                                     who(false, false, true, false),
		`"principals": [{"prefix": "spiffe"}]`:                                             who(false, false, false, false),
		`"principals": [{"suffix": "/sa/carol"}]`:                                          who(false, false, true, false),
		`"principals": [{"suffix": "spiffe://other.domain/ns/prod-a/sa/carol"}]`:           who(false, false, true, false),
		`"principals": [{"presence": {}}]`:                                                 who(true, true, true, false),
		`"notPrincipals": [{"exact": "cluster.local/ns/dev-b/sa/bob"}]`:                    who(true, false, true, true),
		`"notPrincipals": [{"prefix": "cluster.local/"}]`:                                  who(false, false, true, true),
		`"notPrincipals": [{"suffix": "alice"}]`:                                           who(false, true, true, true),
		`"notPrincipals": [{"presence": {}}]`:                                              who(false, false, false, true),
		`"principals": [{"prefix": "cluster.local/"}], "namespaces": [{"prefix": "prod"}]`: who(true, false, false, false),

		`"sourceIps": [{"address": "CgAAAQ==", "length": 32}]`:                                                         sources(true, false, false, false),
		`"sourceIps": [{"address": "CgAAAQ==", "length": 24}]`:                                                         sources(true, false, false, false),
		`"sourceIps": [{"address": "CgAAAA==", "length": 23}]`:                                                         sources(true, true, false, false),
		`"sourceIps": [{"address": "AAAAAA==", "length": 0}]`:                                                          sources(true, true, false, false),
		`"sourceIps": [{"address": "AAAAAAAAAAAAAP//CgAAAA==", "length": 120}]`:                                        sources(true, false, false, false),
		`"sourceIps": [{"address": "/QAAAAAAAAAAAAAAAAAAAA==", "length": 16}]`:                                         sources(false, false, true, false),
		`"sourceIps": [{"address": "AAAAAAAAAAAAAAAAAAAAAA==", "length": 0}]`:                                          sources(false, false, true, true),
		`"notSourceIps": [{"address": "CgAAAQ==", "length": 32}]`:                                                      sources(false, true, true, true),
		`"notSourceIps": [{"address": "AAAAAAAAAAAAAAAAAAAAAA==", "length": 0}]`:                                       sources(true, true, false, false),
		`"sourceIps": [{"address": "CgAAAA==", "length": 8}], "notSourceIps": [{"address": "CgAAAQ==", "length": 32}]`: sources(false, true, false, false),

		`"destinationIps": [{"address": "CgAAAQ==", "length": 32}]`:                   destinations(true, false, false, false),
		`"destinationIps": [{"address": "CgAAAA==", "length": 23}]`:                   destinations(true, true, false, false),
		`"destinationIps": [{"address": "/QAAAAAAAAAAAAAAAAAAAA==", "length": 16}]`:   destinations(false, false, true, false),
		`"notDestinationIps": [{"address": "CgAAAQ==", "length": 32}]`:                destinations(false, true, true, true),
		`"notDestinationIps": [{"address": "AAAAAAAAAAAAAAAAAAAAAA==", "length": 0}]`: destinations(true, true, false, false),

		`"destinationPorts": [80]`:                              numbers(map[uint16]bool{80: true, 79: false, 81: false, 0: false, 65535: false}),
		`"destinationPorts": [80, 81, 8080]`:                    numbers(map[uint16]bool{79: false, 80: true, 81: true, 82: false, 8080: true}),
		`"destinationPorts": [0, 65535]`:                        numbers(map[uint16]bool{0: true, 1: false, 65534: false, 65535: true}),
		`"notDestinationPorts": [80]`:                           numbers(map[uint16]bool{80: false, 79: true, 0: true, 65535: true}),
		`"destinationPorts": [80], "notDestinationPorts": [80]`: numbers(map[uint16]bool{80: false, 81: false}),
		`"destinationPorts": [80], "sourceIps": [{"address": "CgAAAA==", "length": 24}]`: map[Packet]bool{
			from(alice, v4a, v4b, 80): true, from(alice, v4a, v4b, 81): false, from(alice, v4b, v4b, 80): false},
	} {
		in := &Input{Policies: []Policy{{7, policyOf(t, match(fields))}}, Identities: everybody, Sets: []Set{{}}}
		for p, matches := range packets {
			want := Decision{Allowed: !matches}
			if matches {
				want.Policy = 7
			}
			if got := decide(t, in, 0, p); got != want {
				t.Errorf("{%s}: %+v: %+v, want %+v", fields, p, got, want)
			}
		}
	}
}

// Groups OR, rules AND, matches OR, and what is empty.
func TestNesting(t *testing.T) {
	const a, b = `{"destinationPorts": [1, 2]}`, `{"destinationPorts": [2, 3]}`
	const net10, net11 = `{"sourceIps": [{"address": "CgAAAA==", "length": 8}]}`, `{"sourceIps": [{"address": "CwAAAA==", "length": 8}]}`
	for groups, want := range map[string]string{ // ports 1 to 4 from 10.0.0.1 that match
		``:                               "",
		`{}`:                             "1234", // a group without rules
		`{"rules": [{}]}`:                "1234", // a rule without matches
		`{"rules": [{"matches": [{}]}]}`: "1234", // a match without fields
		`{"rules": [{"matches": [{}, ` + a + `]}]}`:                                                                  "1234",
		`{"rules": [{"matches": [` + a + `]}]}`:                                                                      "12",
		`{"rules": [{"matches": [` + a + `, ` + b + `]}]}`:                                                           "123",
		`{"rules": [{"matches": [` + a + `]}, {"matches": [` + b + `]}]}`:                                            "2",
		`{"rules": [{"matches": [` + a + `]}, {}]}`:                                                                  "12",
		`{"rules": [{"matches": [` + a + `]}]}, {"rules": [{"matches": [` + b + `]}]}`:                               "123",
		`{"rules": [{"matches": [` + a + `]}, {"matches": [` + net10 + `]}]}`:                                        "12",
		`{"rules": [{"matches": [` + a + `]}, {"matches": [` + net11 + `]}]}`:                                        "",
		`{"rules": [{"matches": [` + a + `]}, {"matches": [` + net11 + `, ` + b + `]}]}`:                             "2",
		`{"rules": [{"matches": [` + a + `]}, {"matches": [` + net11 + `]}]}, {"rules": [{"matches": [` + b + `]}]}`: "23",
	} {
		for _, action := range []string{"DENY", "ALLOW"} {
			text := `{"action": "` + action + `", "groups": [` + groups + `]}`
			in := &Input{Policies: []Policy{{7, policyOf(t, text)}}, Identities: []Identity{{}}, Sets: []Set{{}}}
			for port := uint16(1); port <= 4; port++ {
				matches := strings.Contains(want, string(rune('0'+port)))
				expect := Decision{Allowed: matches}
				if action == "DENY" {
					expect = Decision{Allowed: !matches}
					if matches {
						expect.Policy = 7
					}
				}
				if got := decide(t, in, 0, from(nobody, "10.0.0.1", "10.0.0.2", port)); got != expect {
					t.Errorf("%s: port %d: %+v, want %+v", text, port, got, expect)
				}
			}
		}
	}
}

// Where a policy applies, DENY before ALLOW, and who is named.
func TestScopes(t *testing.T) {
	sets := []Set{
		{},
		{Known: true, Namespace: "a"},
		{Known: true, Namespace: "b"},
		{Known: true, Namespace: "b", Selected: []string{"a/sel"}},
		{Known: true, Namespace: "b", Selected: []string{"b/sel"}}, // another namespace's
		{Namespace: "b", Selected: []string{"b/sel"}},              // no longer known
	}
	allow := func(name, namespace, scope, groups string) string {
		return `{"name": "` + name + `", "namespace": "` + namespace + `", "scope": "` + scope + `", "groups": [` + groups + `]}`
	}
	deny := func(text string) string { return `{"action": "DENY", ` + text[1:] }
	const port1, port2 = `{"rules": [{"matches": [{"destinationPorts": [1]}]}]}`, `{"rules": [{"matches": [{"destinationPorts": [2]}]}]}`
	const yes, none = "+", "-" // allowed; denied as no ALLOW policy matched; else the policy's number
	for _, c := range []struct {
		name     string
		policies []string
		want     map[string]string // port: by set
	}{
		{"no policy", nil, map[string]string{"1": "++++++"}},
		{"GLOBAL", []string{allow("p", "root", "GLOBAL", port1)}, map[string]string{"1": "++++++", "2": "------"}},
		{"NAMESPACE", []string{allow("p", "a", "NAMESPACE", port1)}, map[string]string{"1": "++++++", "2": "+-++++"}},
		{"WORKLOAD_SELECTOR", []string{allow("sel", "a", "WORKLOAD_SELECTOR", port1)}, map[string]string{"1": "++++++", "2": "+++-++"}},
		{"ALLOW that allows nothing", []string{allow("p", "b", "NAMESPACE", "")}, map[string]string{"1": "++---+"}},
		{"ALLOW that allows everything", []string{allow("p", "b", "NAMESPACE", "{}")}, map[string]string{"1": "++++++"}},
		{"two ALLOW", []string{allow("p", "b", "NAMESPACE", port1), allow("sel", "a", "WORKLOAD_SELECTOR", port2)},
			map[string]string{"1": "++++++", "2": "++-+-+", "3": "++---+"}},
		{"two ALLOW for the same", []string{allow("p", "b", "NAMESPACE", port1), allow("q", "b", "NAMESPACE", port2)},
			map[string]string{"1": "++++++", "2": "++++++", "3": "++---+"}},
		{"DENY without groups", []string{deny(allow("p", "x", "GLOBAL", ""))}, map[string]string{"1": "++++++"}},
		{"DENY GLOBAL", []string{deny(allow("p", "x", "GLOBAL", port1))}, map[string]string{"1": "111111", "2": "++++++"}},
		{"DENY NAMESPACE", []string{deny(allow("p", "b", "NAMESPACE", port1))}, map[string]string{"1": "++111+"}},
		{"DENY WORKLOAD_SELECTOR", []string{deny(allow("sel", "b", "WORKLOAD_SELECTOR", port1))}, map[string]string{"1": "++++1+"}},
		{"DENY after ALLOW", []string{allow("p", "b", "NAMESPACE", port1), deny(allow("q", "b", "NAMESPACE", port1))},
			map[string]string{"1": "++222+", "2": "++---+"}},
		{"the first DENY is named", []string{deny(allow("p", "b", "NAMESPACE", port1)), deny(allow("q", "x", "GLOBAL", "{}"))},
			map[string]string{"1": "221112", "2": "222222"}},
	} {
		in := &Input{Identities: []Identity{{}}, Sets: sets}
		for i, text := range c.policies {
			in.Policies = append(in.Policies, Policy{uint32(i + 1), policyOf(t, text)})
		}
		for port, want := range c.want {
			got := ""
			for set := range sets {
				d := decide(t, in, set, from(nobody, "10.0.0.1", "10.0.0.2", uint16(port[0]-'0')))
				switch {
				case d.Allowed && d.Policy == 0:
					got += yes
				case d.Policy == 0:
					got += none
				default:
					got += string(rune('0' + d.Policy))
				}
			}
			if got != want {
				t.Errorf("%s: port %s: %s, want %s", c.name, port, got, want)
			}
		}
	}
}
