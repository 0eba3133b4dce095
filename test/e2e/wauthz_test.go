// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// court is two enrolled pods whose connections are judged, in namespaces ns and
// other, and clients of three kinds.
type court struct {
	*mesh
	probes map[string]probe
}

// probe is a connection that is allowed or denied.
type probe struct {
	from *client
	to   string
}

// Clients: a is ns's, b another namespace's and trust domain's, x is nobody; to
// ns's server at port 8080, at 9090, by IPv6, or to the server of namespace other.
const (
	fromA, fromA9, fromA6, fromAOther = "a", "a:9090", "a by IPv6", "a to other"
	fromB, fromB6, fromX, fromXOther  = "b", "b by IPv6", "x", "x to other"
)

var everyProbe = []string{fromA, fromA9, fromA6, fromAOther, fromB, fromB6, fromX, fromXOther}

const (
	aIP, aIP6   = "10.1.0.1", "fd00:1:0::1"
	bIP, bIP6   = "10.1.1.2", "fd00:1:1::2"
	xIP         = "10.1.2.3"
	otherServer = "10.3.1.1"
)

func newCourt(t *testing.T, flags ...string) *court {
	t.Helper()
	m := newMesh(t, flags...)
	m.enrolled(serverIP, serverIP6).serve(at(serverIP, 8080), at(serverIP, 9090), at(serverIP6, 8080))
	m.enrolled(otherServer).serve(at(otherServer, 8080))
	m.apply(courtWorkloads("ns/p", "ns/q"))
	a, b, x := m.pod(aIP, aIP6).client(0), m.pod(bIP, bIP6).client(0), m.pod(xIP).client(0)
	return &court{m, map[string]probe{
		fromA: {a, at(serverIP, 8080)}, fromA9: {a, at(serverIP, 9090)}, fromA6: {a, at(serverIP6, 8080)},
		fromAOther: {a, at(otherServer, 8080)}, fromB: {b, at(serverIP, 8080)}, fromB6: {b, at(serverIP6, 8080)},
		fromX: {x, at(serverIP, 8080)}, fromXOther: {x, at(otherServer, 8080)}}}
}

// courtWorkloads is who everybody is; these policies are selected for ns's server.
func courtWorkloads(selected ...string) doc {
	both := func(w obj, ips ...string) obj {
		list := make([][]byte, len(ips))
		for i, ip := range ips {
			list[i] = ipBytes(ip)
		}
		return with(w, "addresses", list)
	}
	return wds(with(both(wpod("server", ""), serverIP, serverIP6), "authorizationPolicies", selected),
		with(wpod("other", otherServer), "namespace", "other"),
		both(wpod("a", ""), aIP, aIP6),
		with(both(wpod("b", ""), bIP, bIP6), "namespace", "prod-b", "trustDomain", "td.example"))
}

// try opens the connection, has the server speak, and returns nil, or the error.
func (p probe) try() (err error) {
	p.from.do(func() {
		var c *conn
		if c, err = dialFor(netip.MustParseAddrPort(p.to), patience); err != nil {
			return
		}
		defer c.close()
		_, err = c.read()
	})
	return err
}

// wantDenied asks for these probes to be denied, and for all others to be let in,
// and for each denial to be counted under the policy's name.
func (c *court) wantDenied(t *testing.T, denied map[string]string) {
	t.Helper()
	before, byNone := c.denials(t), c.counted("denied_by_none")
	for _, who := range everyProbe {
		err := c.probes[who].try()
		if _, no := denied[who]; no && err != unix.ECONNREFUSED {
			t.Errorf("%s: %v, want the connection to be denied", who, err)
		} else if !no && err != nil {
			t.Errorf("%s: %v, want the connection to be let in", who, err)
		}
	}
	want := maps.Clone(before)
	for _, name := range denied {
		if name == "" {
			byNone++
		} else {
			want[name]++
		}
	}
	if got := c.counted("denied_by_none"); got != byNone {
		t.Errorf("denials for want of a policy that allows: %d, want %d", got, byNone)
	}
	if got := c.denials(t); !maps.Equal(got, want) {
		t.Errorf("denials by policy: %v, want %v", got, want)
	}
}

// denials is what `get policies` counted, by name.
func (m *mesh) denials(t testing.TB) map[string]int {
	t.Helper()
	var list []struct {
		Name   string
		Denied int
	}
	m.node.in(t).query(&list, "get", "policies")
	counted := map[string]int{}
	for _, p := range list {
		counted[p.Name] = p.Denied
	}
	return counted
}

// by is these probes, denied by one policy; "" is for want of one that allows.
func by(policy string, who ...string) map[string]string {
	denied := map[string]string{}
	for _, w := range who {
		denied[w] = policy
	}
	return denied
}

func except(all []string, who ...string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(w string) bool { return slices.Contains(who, w) })
}

var (
	toServer = []string{fromA, fromA9, fromA6, fromB, fromB6, fromX}
	toOther  = []string{fromAOther, fromXOther}
)

func denyWhen(members ...any) []obj {
	return []obj{policy("p", "WORKLOAD_SELECTOR", "DENY", onlyWhen(members...))}
}

func allowWhen(members ...any) []obj {
	return []obj{policy("p", "WORKLOAD_SELECTOR", "ALLOW", onlyWhen(members...))}
}

type verdict struct {
	name     string
	policies []obj
	denied   map[string]string
}

func TestAuthorization(t *testing.T) {
	c := newCourt(t)
	for _, list := range [][]verdict{scopeCases(), structureCases(), fieldCases()} {
		for _, x := range list {
			t.Run(strings.ReplaceAll(x.name, "/", "-"), func(t *testing.T) {
				c.node.in(t).apply(policies(x.policies...))
				c.wantDenied(t, x.denied)
			})
		}
	}
}

func scopeCases() []verdict {
	anyone := onlyWhen()
	inRoot := func(p obj) obj { return with(p, "namespace", "istio-system") }
	return []verdict{
		{"no policy", nil, nil},
		{"selected", []obj{policy("p", "WORKLOAD_SELECTOR", "DENY", anyone)}, by("ns/p", toServer...)},
		{"not selected", []obj{policy("z", "WORKLOAD_SELECTOR", "DENY", anyone)}, nil},
		{"namespace", []obj{policy("z", "NAMESPACE", "DENY", anyone)}, by("ns/z", toServer...)},
		{"another namespace", []obj{with(policy("z", "NAMESPACE", "DENY", anyone), "namespace", "other")}, by("other/z", toOther...)},
		{"global", []obj{inRoot(policy("z", "GLOBAL", "DENY", anyone))}, by("istio-system/z", everyProbe...)},
		{"no ALLOW policy applies", []obj{policy("z", "WORKLOAD_SELECTOR", "ALLOW", onlyWhen("destinationPorts", []int{1}))}, nil},
		{"an ALLOW policy applies in its namespace only", []obj{policy("z", "NAMESPACE", "ALLOW", onlyWhen("destinationPorts", []int{9090}))},
			by("", except(toServer, fromA9)...)},
		{"a global ALLOW policy", []obj{inRoot(policy("z", "GLOBAL", "ALLOW", onlyWhen("principals", present())))}, by("", fromX, fromXOther)},
	}
}

func structureCases() []verdict {
	port9, isB := when("destinationPorts", []int{9090}), when("namespaces", exact("prod-b"))
	selector := func(name, action string, groups ...obj) obj {
		return policy(name, "WORKLOAD_SELECTOR", action, groups...)
	}
	return []verdict{
		{"ALLOW with no groups allows nothing", []obj{selector("p", "ALLOW")}, by("", toServer...)},
		{"DENY with no groups denies nothing", []obj{selector("p", "DENY")}, nil},
		{"an empty match is everything", []obj{selector("p", "ALLOW", onlyWhen())}, nil},
		{"DENY before ALLOW", []obj{selector("p", "ALLOW", onlyWhen()), selector("q", "DENY", and(or(port9)))}, by("ns/q", fromA9)},
		{"one of two ALLOW policies", []obj{selector("p", "ALLOW", and(or(port9))), selector("q", "ALLOW", and(or(isB)))},
			by("", fromA, fromA6, fromX)},
		{"groups are alternatives", []obj{selector("p", "DENY", and(or(port9)), and(or(isB)))}, by("ns/p", fromA9, fromB, fromB6)},
		{"the rules of a group must all hold", []obj{selector("p", "DENY", and(or(isB), or(when("sourceIps", cidrs(bIP+"/32")))))}, by("ns/p", fromB)},
		{"the matches of a rule are alternatives", []obj{selector("p", "DENY", and(or(port9, isB)))}, by("ns/p", fromA9, fromB, fromB6)},
		{"rules and matches", []obj{selector("p", "DENY", and(or(port9, isB), or(when("sourceIps", cidrs(bIP+"/32")), when("sourceIps", cidrs(aIP+"/32")))))},
			by("ns/p", fromA9, fromB)},
		{"the fields of a match must all hold", []obj{selector("p", "DENY", onlyWhen("destinationPorts", []int{8080}, "namespaces", exact("prod-b"),
			"sourceIps", cidrs("10.1.0.0/16")))}, by("ns/p", fromB)},
		{"the values of a field are alternatives", []obj{selector("p", "DENY", onlyWhen("namespaces", append(exact("prod-b"), exact("ns")...)))},
			by("ns/p", except(toServer, fromX)...)},
		{"a negation is none of its values", []obj{selector("p", "DENY", onlyWhen("notNamespaces", append(exact("prod-b"), exact("ns")...)))}, by("ns/p", fromX)},
		{"STRICT mutual TLS", []obj{selector("p", "DENY", onlyWhen("notPrincipals", present()))}, by("ns/p", fromX)},
		{"as many policies as there may be", crowdOf(200), by("ns/p", fromA9)},
	}
}

// crowdOf is n policies that deny others, and one that matters.
func crowdOf(n int) []obj {
	list := []obj{policy("p", "WORKLOAD_SELECTOR", "DENY", onlyWhen("destinationPorts", []int{9090}))}
	for i := range n {
		list = append(list, policy(fmt.Sprintf("n%d", i), "NAMESPACE", "DENY",
			onlyWhen("principals", exact(fmt.Sprintf("cluster.local/ns/n%d/sa/s", i)), "destinationPorts", []int{8000 + i})))
	}
	return list
}

func fieldCases() []verdict {
	all, notX := toServer, except(toServer, fromX)
	isA, isB, not6 := []string{fromA, fromA9, fromA6}, []string{fromB, fromB6}, []string{fromA, fromA9, fromB, fromX}
	b := "td.example/ns/prod-b/sa/b"
	var list []verdict
	// Each value of a field is tried as DENY, ALLOW, and negated as DENY.
	field := func(what, name string, value any, who ...string) {
		rest := except(all, who...)
		list = append(list,
			verdict{what, denyWhen(name, value), by("ns/p", who...)},
			verdict{what + ", allowed", allowWhen(name, value), by("", rest...)},
			verdict{what + ", negated", denyWhen("not"+strings.ToUpper(name[:1])+name[1:], value), by("ns/p", rest...)})
	}
	field("namespace exact", "namespaces", exact("ns"), isA...)
	field("namespace prefix", "namespaces", starts("prod-"), isB...)
	field("namespace suffix", "namespaces", ends("-b"), isB...)
	field("namespace presence", "namespaces", present(), notX...)
	field("principal exact", "principals", exact(b), isB...)
	field("principal exact, cluster.local", "principals", exact("cluster.local/ns/ns/sa/a"), isA...)
	field("principal prefix", "principals", starts("cluster.local/ns/"), isA...)
	field("principal suffix", "principals", ends("/sa/b"), isB...)
	field("principal presence", "principals", present(), notX...)
	field("principal of nobody", "principals", exact("cluster.local/ns/ns/sa/zz"))
	field("service account", "serviceAccounts", account("ns", "a"), isA...)
	field("service account of another namespace", "serviceAccounts", account("ns", "b"))
	field("source address", "sourceIps", cidrs(aIP+"/32"), fromA, fromA9)
	field("source prefix", "sourceIps", cidrs("10.1.0.0/23"), fromA, fromA9, fromB)
	field("source IPv6", "sourceIps", cidrs("fd00:1:1::/48"), fromB6)
	field("source, all of IPv4", "sourceIps", cidrs("0.0.0.0/0"), not6...)
	field("source, all of IPv6", "sourceIps", cidrs("::/0"), fromA6, fromB6)
	field("sources", "sourceIps", cidrs(bIP+"/32", xIP+"/32", "fd00:1::/48"), fromB, fromX, fromA6)
	field("destination address", "destinationIps", cidrs(serverIP+"/32"), not6...)
	field("destination IPv6", "destinationIps", cidrs(serverIP6+"/128"), fromA6, fromB6)
	field("destination, others", "destinationIps", cidrs("10.9.0.0/16"))
	field("destination port", "destinationPorts", []int{9090}, fromA9)
	field("destination ports", "destinationPorts", []int{1, 8080, 65535}, except(all, fromA9)...)
	return list
}

// Refused at once: before the first packet would be sent again.
func TestDeniedConnectionIsRefusedAtOnce(t *testing.T) {
	c := newCourt(t)
	c.apply(policies(policy("p", "NAMESPACE", "DENY", onlyWhen())))
	for _, who := range []string{fromA, fromA6} {
		quickest := time.Hour
		for range 5 {
			start := time.Now()
			if err := c.probes[who].try(); err != unix.ECONNREFUSED {
				t.Errorf("%s: %v, want the connection to be denied", who, err)
			}
			quickest = min(quickest, time.Since(start))
		}
		if quickest > time.Second/2 {
			t.Errorf("%s: the quickest of five denials took %v", who, quickest)
		}
	}
}

// Whether a workload serves an address or several do: several are nobody.
func TestSharedAddressIsNobody(t *testing.T) {
	c := newCourt(t)
	shared := courtWorkloads("ns/p")
	shared["resources"] = append(shared["resources"].([]obj), addressOf(wpod("a-twin", aIP)))
	for _, x := range []struct {
		name string
		doc  doc
	}{
		{"two workloads", shared},
		{"the host's network", func() doc {
			d := courtWorkloads("ns/p")
			for _, r := range d["resources"].([]obj) {
				if w := r["workload"].(obj); w["name"] == "a" {
					w["networkMode"] = "HOST_NETWORK"
				}
			}
			return d
		}()},
	} {
		t.Run(x.name, func(t *testing.T) {
			c.node.in(t).apply(x.doc, policies(policy("p", "WORKLOAD_SELECTOR", "DENY", onlyWhen("notPrincipals", present()))))
			denied := by("ns/p", fromA, fromA9, fromX)
			if x.name == "the host's network" {
				denied[fromA6] = "ns/p"
			}
			c.wantDenied(t, denied)
		})
	}
}
