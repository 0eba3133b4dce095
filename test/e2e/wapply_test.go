// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// views is all that `get` shows of resources.
func (m *mesh) views() map[string]any {
	m.t.Helper()
	all := map[string]any{}
	for _, kind := range []string{"services", "workloads", "policies"} {
		var list any
		m.query(&list, "get", kind)
		all[kind] = list
	}
	return all
}

// permutations of 0 to n-1.
func permutations(n int) (all [][]int) {
	var grow func(done []int)
	grow = func(done []int) {
		if len(done) == n {
			all = append(all, slices.Clone(done))
			return
		}
		for i := range n {
			if !slices.Contains(done, i) {
				grow(append(done, i))
			}
		}
	}
	grow(nil)
	return all
}

func TestWorkloadConfigurationComesInAnyOrder(t *testing.T) {
	m, c := ford(t)
	p := m.enrolled(serverIP)
	p.serve(at(serverIP, 8080))
	stranger := m.pod("10.1.0.7").client(0)
	w := waypoint()
	docs := []doc{
		wdelta(nil, serviceA("waypoint", byHost("wp"))),
		wdelta(nil, a1(), with(wpod("p", serverIP), "authorizationPolicies", []string{"ns/p"})),
		wdelta(nil, w...),
		policyDelta(nil, policy("p", "WORKLOAD_SELECTOR", "DENY", onlyWhen())),
	}
	var want map[string]any
	for _, order := range permutations(len(docs)) {
		m.apply(wds(), policies())
		for _, i := range order {
			m.apply(docs[i])
		}
		wantSpread(t, c, vipA, viaA)
		if !denied(stranger, at(serverIP, 8080)) {
			t.Errorf("order %v: a denied connection was let in", order)
		}
		got := m.views()
		forget(got, "denied")
		if want == nil {
			want = got
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("order %v: get shows\n%v, else\n%v", order, got, want)
		}
	}
}

// forget takes members of this name out of what `get` shows.
func forget(v any, name string) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, name)
		for _, x := range v {
			forget(x, name)
		}
	case []any:
		for _, x := range v {
			forget(x, name)
		}
	}
}

func TestWorkloadWholeAndDeltaResponses(t *testing.T) {
	m, c := lane(t)
	m.apply(wds(serviceA(), a1(), wpod("a2", ip2, serves("a", wport(80, 8080)))))
	wantSpread(t, c, vipA, took(10, 10))
	// A delta leaves what it does not name.
	m.apply(wdelta([]string{uid("a1")}, wpod("a3", ip3, serves("a", wport(80, 8080)))))
	wantSpread(t, c, vipA, took(0, 10, 10))
	m.apply(wdelta([]string{uid("a2"), "ns/nobody"}))
	wantSpread(t, c, vipA, took(0, 0, 10))
	// Removal of the service and of its last workload, with others that come.
	m.apply(wdelta([]string{keyOf("a"), uid("a3")}, wsvc("b", vips("10.96.0.2"), wport(80, 9090)), wpod("b1", ip4, serves("b", wport(80, 9090)))))
	reaches(t, c, map[string]string{vipA: vipA, vipB: at(ip4, 9090)})
	// A whole response removes what it does not name; of the other kind nothing.
	m.apply(policies(policy("p", "NAMESPACE", "DENY", onlyWhen())))
	m.apply(wds(serviceA(), a1()))
	reaches(t, c, map[string]string{vipA: at(ip1, 8080), vipB: vipB})
	if got := m.denials(t); len(got) != 1 {
		t.Errorf("policies: %v", got)
	}
	m.apply(policyDelta([]string{"ns/p"}, policy("q", "NAMESPACE", "DENY", onlyWhen())))
	if _, q := m.denials(t)["ns/q"]; !q {
		t.Errorf("policies: %v", m.denials(t))
	}
	m.apply(policies())
	if got := m.denials(t); len(got) != 0 {
		t.Errorf("policies: %v", got)
	}
	wantReach(t, c, vipA, at(ip1, 8080))
}

func TestWorkloadServiceMovesItsAddressAndPort(t *testing.T) {
	m, c := lane(t)
	m.apply(wds(serviceA(), a1()))
	m.apply(wdelta(nil, wsvc("a", vips("10.96.0.2"), wport(80, 8080))))
	reaches(t, c, map[string]string{vipA: vipA, vipB: at(ip1, 8080)})
	m.apply(wdelta(nil, wsvc("a", vips("10.96.0.1"), wport(81, 8080))))
	reaches(t, c, map[string]string{vipA: vipA, vipB: vipB})
	m.apply(wdelta(nil, wsvc("a", vips("10.96.0.1", "10.96.0.2"), wport(80, 8080))))
	reaches(t, c, map[string]string{vipA: at(ip1, 8080), vipB: at(ip1, 8080)})
	// The workload moves, too.
	m.apply(wdelta(nil, wpod("a1", ip2, serves("a", wport(80, 9090)))))
	reaches(t, c, map[string]string{vipA: at(ip2, 9090)})
}

func TestWorkloadSameResponseAgainChangesNothing(t *testing.T) {
	m := newMesh(t)
	dir := m.capture("ambient-real")
	m.want(exitDone, "apply", "-f", dir)
	before := m.views()
	m.want(exitDone, "apply", "-f", dir)
	if after := m.views(); !reflect.DeepEqual(before, after) {
		t.Errorf("get shows\n%v, then\n%v", before, after)
	}
}

func TestWorkloadDelete(t *testing.T) {
	m, c := lane(t)
	m.apply(wds(serviceA(), a1()), denyAll())
	m.want(exitDone, "delete", "policy", "istio-system/deny-all")
	m.want(exitDone, "delete", "service", keyOf("a"))
	wantReach(t, c, vipA, vipA)
	m.want(exitDone, "delete", "workload", uid("a1"))
	for _, args := range [][]string{{"policy", "istio-system/deny-all"}, {"service", keyOf("a")}, {"workload", uid("a1")}} {
		refused(t, exitNotUp, m.run(append([]string{"delete"}, args...)...), args[1])
		refused(t, exitNotUp, m.run(append([]string{"get"}, args...)...), args[1])
	}
}

// Hostile responses: each is refused by name and place, and changes nothing.
func TestMalformedResponsesAreRefusedWhole(t *testing.T) {
	m, c := lane(t)
	m.apply(wds(serviceA(), a1()), policies(policy("p", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{1}))))
	want := m.views()
	good := wsvc("good", vips("10.96.0.2"), wport(80, 9090))
	bytesOf := func(n int) obj { return obj{"address": make([]byte, n)} }
	long := string(make([]byte, 2000))
	for name, x := range map[string]struct {
		bad   doc
		words []string
	}{
		"service address of 3 bytes":  {wdelta(nil, good, with(serviceA(), "addresses", []obj{bytesOf(3)})), []string{keyOf("a"), "addresses[0]"}},
		"workload address of 5 bytes": {wdelta(nil, good, with(a1(), "addresses", [][]byte{make([]byte, 5)})), []string{uid("a1"), "addresses[0]"}},
		"port 0":                      {wdelta(nil, good, wsvc("a", vips("10.96.0.1"), wport(0, 80))), []string{keyOf("a"), "ports[0]"}},
		"port 65536":                  {wdelta(nil, good, wsvc("a", vips("10.96.0.1"), wport(65536, 80))), []string{keyOf("a"), "ports[0]"}},
		"target port 70000":           {wdelta(nil, good, wsvc("a", vips("10.96.0.1"), wport(80, 70000))), []string{keyOf("a"), "ports[0]"}},
		"workload without uid":        {wdelta(nil, good, with(a1(), "uid", "")), []string{"uid"}},
		"service without hostname":    {wdelta(nil, good, with(serviceA(), "hostname", "")), []string{"hostname"}},
		"a name of 2000 bytes":        {wdelta(nil, good, with(a1(), "uid", "x"+long)), []string{"uid"}},
		"policy without name":         {policyDelta(nil, with(policy("p", "NAMESPACE", "DENY"), "name", "")), []string{"name"}},
		"policy source of 3 bytes": {policyDelta(nil, policy("p", "NAMESPACE", "DENY", onlyWhen("sourceIps", []obj{{"address": make([]byte, 3), "length": 8}}))),
			[]string{"ns/p", "groups[0].rules[0].matches[0].source_ips[0]"}},
		"policy prefix of 33": {policyDelta(nil, policy("p", "NAMESPACE", "DENY", onlyWhen("sourceIps", []obj{{"address": make([]byte, 4), "length": 33}}))),
			[]string{"ns/p", "source_ips[0]"}},
		"policy port 65536":       {policyDelta(nil, policy("p", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{65536}))), []string{"ns/p", "destination_ports[0]"}},
		"a match of no type":      {policyDelta(nil, policy("p", "NAMESPACE", "DENY", onlyWhen("principals", []obj{{}}))), []string{"ns/p", "principals[0]"}},
		"an Envoy cluster":        {cds(static("a", epA1)), []string{"--mode ads"}},
		"not the type that it is": {doc{"typeUrl": typeAddress, "resources": []obj{{"@type": typeAuthorization, "name": "p"}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := m.node.in(t)
			refused(t, exitRejected, n.run("apply", "-f", n.write(x.bad)), x.words...)
			if got := m.views(); !reflect.DeepEqual(got, want) {
				t.Errorf("get shows\n%v, was\n%v", got, want)
			}
			wantReach(t, c, vipA, at(ip1, 8080))
		})
	}
	// One that is bad spoils those beside it, unless it may be left out.
	bad := m.write(wdelta(nil, good, with(serviceA(), "addresses", []obj{bytesOf(3)}), wpod("g", ip2, serves("good", wport(80, 9090)))))
	wantReach(t, c, vipB, vipB)
	m.want(exitDone, "apply", "--skip-invalid", "-f", bad)
	reaches(t, c, map[string]string{vipA: at(ip1, 8080), vipB: at(ip2, 9090)})
}

// Cut off anywhere, or with any byte changed, a response is taken whole or refused.
func TestBrokenBinaryResponsesDoNoHarm(t *testing.T) {
	m := newMesh(t)
	good, err := os.ReadFile(filepath.Join(m.capture("ambient-real"), "01-Address.pb"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(m.dir, "broken.pb")
	for i := 1; i < len(good); i += len(good)/25 + 1 {
		for _, data := range [][]byte{good[:i], append(append(slices.Clone(good[:i]), good[i]^0x55), good[i+1:]...)} {
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if r := m.run("apply", "-f", file); r.code != exitDone && r.code != exitRejected {
				t.Errorf("%v\nbroken at byte %d: want exit 0 or 13", r, i)
			}
		}
	}
	m.want(exitDone, "apply", "-f", m.capture("ambient-real"))
	if data, err := json.Marshal(m.views()); err != nil || !contains(string(data), "echo-b-3") {
		t.Errorf("get after all shows %s, %v", data, err)
	}
}
