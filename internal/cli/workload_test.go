// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
	"github.com/kmesh-net/kmesh-node/proto/security"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

func TestAKindOfTheOtherModeNamesItsMode(t *testing.T) {
	for _, c := range []struct{ mode, other, kind string }{
		{"workload", "ads", "clusters"}, {"workload", "ads", "endpoints"}, {"workload", "ads", "listener"},
		{"ads", "workload", "services"}, {"ads", "workload", "policy"}, {"ads", "workload", "Workloads"},
	} {
		r := run("--mode", c.mode, "get", c.kind)
		if r.code != exit.Usage || !strings.Contains(r.errout, "use --mode "+c.other) {
			t.Errorf("get %s in mode %s: exit %d, %q", c.kind, c.mode, r.code, r.errout)
		}
	}
	if r := run("--mode", "ads", "events"); r.code != exit.Usage || !strings.Contains(r.errout, "use --mode workload") {
		t.Errorf("exit %d, %q", r.code, r.errout)
	}
}

func TestUsageOfWorkloadMode(t *testing.T) {
	const kinds = "services, workloads, policies or enrolled"
	for want, args := range map[string][]string{
		"get needs a kind: " + kinds:                          {"get"},
		`"things" is no kind: ` + kinds:                       {"get", "things"},
		`get takes one name, not "b" too`:                     {"get", "services", "a", "b"},
		"get enrolled takes no name":                          {"get", "enrolled", "a"},
		"delete needs a kind and a name":                      {"delete", "service"},
		"delete needs a name":                                 {"delete", "service", ""},
		`"enrolled" is no kind: service, workload or policy`:  {"delete", "enrolled", "a"},
		`events takes no argument "a"`:                        {"events", "a"},
		"clusters are of mode ads, and this is mode workload": {"delete", "cluster", "a"},
		"apply needs -f PATH":                                 {"apply"},
	} {
		r := run(append([]string{"--mode", "workload"}, args...)...)
		if r.code != exit.Usage || !strings.Contains(r.errout, want) || strings.Count(r.errout, "\n") != 1 {
			t.Errorf("%q: exit %d, %q, want %q", args, r.code, r.errout, want)
		}
	}
}

func TestEveryKindHasItsWords(t *testing.T) {
	for word, want := range map[string]string{"service": "services", "SERVICES": "services", "workload": "workloads",
		"policy": "policies", "policies": "policies", "enrolled": "enrolled"} {
		if n, err := nounOf(loader.Workload, word, toGet); err != nil || n.plural != want {
			t.Errorf("%s is %s, %v; want %s", word, n.plural, err, want)
		}
	}
	for word, want := range map[string]string{"route": "routes", "routeconfigurations": "routes", "enrolled": "enrolled"} {
		if n, err := nounOf(loader.Ads, word, toGet); err != nil || n.plural != want {
			t.Errorf("%s is %s, %v; want %s", word, n.plural, err, want)
		}
	}
}

// printed is a table as lines of words.
func printed(t *testing.T, tb *table) []string {
	t.Helper()
	var b bytes.Buffer
	if err := tb.print(&b); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for l := range strings.Lines(b.String()) {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	for _, r := range tb.rows {
		if len(r) != len(tb.head) {
			t.Errorf("%d cells under %d headings: %q", len(r), len(tb.head), r)
		}
	}
	return lines
}

func TestServicesInATable(t *testing.T) {
	got := printed(t, serviceTable([]workload.ServiceView{
		{Name: "ns/a", Addresses: []string{"10.0.0.1", "2001:db8::1"}, Ports: []workload.PortView{{ServicePort: 80, TargetPort: 8080}, {ServicePort: 90}},
			Healthy: 2, Total: 3, Waypoint: "ns/w:15019", LoadBalancing: "strict", Notes: []string{"n"}},
		{Name: "ns/b", Addresses: []string{"1", "2", "3", "4", "5"}, LoadBalancing: "all"},
	}))
	want := []string{"NAME ADDRESSES PORTS ENDPOINTS WAYPOINT LB NOTES",
		"ns/a 10.0.0.1,2001:db8::1 80->8080,90->(named) 2/3 ns/w:15019 strict 1",
		"ns/b 1,2,3 and 2 more - 0/0 - all 0"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWorkloadsAndPoliciesInATable(t *testing.T) {
	got := printed(t, workloadTable([]workload.WorkloadView{{UID: "c//Pod/ns/p", Addresses: []string{"10.0.0.1"}, Node: "n1",
		Identity: "cluster.local/ns/ns/sa/s", Status: "healthy", Services: []string{"ns/a"}, Policies: []string{"ns/x"}}, {UID: "u", Status: "unhealthy"}}))
	if got[1] != "c//Pod/ns/p 10.0.0.1 n1 cluster.local/ns/ns/sa/s healthy ns/a ns/x 0" || got[2] != "u - - - unhealthy - - 0" {
		t.Errorf("%q", got)
	}
	got = printed(t, policyTable([]workload.PolicyView{{Name: "ns/x", Scope: "global", Action: "deny", Groups: 2, Denied: 7}}))
	if got[1] != "ns/x global deny 2 7 0" {
		t.Errorf("%q", got)
	}
}

func TestEnrolledInATable(t *testing.T) {
	l := []loader.Namespace{{Cookie: 7, Paths: []string{"/run/netns/a"}, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Waypoint: true}, {Cookie: 8}}
	if got := printed(t, enrolledTable(loader.Workload, l)); got[1] != "7 /run/netns/a 10.0.0.1 yes" || got[2] != "8 - - -" {
		t.Errorf("%q", got)
	}
	if got := printed(t, enrolledTable(loader.Ads, l)); got[1] != "7 /run/netns/a" {
		t.Errorf("%q", got)
	}
}

func TestAViewCarriesTheMessageAsItCame(t *testing.T) {
	s := &wapi.Service{Name: "a", Namespace: "ns", Ports: []*wapi.Port{{ServicePort: 80}}}
	views := render([]workload.ServiceView{{Name: "ns/a", Healthy: 1}}, func(workload.ServiceView) proto.Message { return s })
	b, err := json.Marshal(views)
	if err != nil {
		t.Fatal(err)
	}
	var got []struct {
		Name     string
		Healthy  int
		Resource struct {
			Namespace string
			Ports     []struct{ ServicePort int }
		}
	}
	if err := json.Unmarshal(b, &got); err != nil || len(got) != 1 || got[0].Name != "ns/a" || got[0].Healthy != 1 ||
		got[0].Resource.Namespace != "ns" || got[0].Resource.Ports[0].ServicePort != 80 {
		t.Errorf("%s, %v", b, err)
	}
	if b, err := joinJSON(struct{}{}, "a", 1); err != nil || string(b) != `{"a":1}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestWhatHasANameIsFoundByIt(t *testing.T) {
	l := []workload.PolicyView{{Name: "ns/a"}, {Name: "ns/b", Resource: &security.Authorization{}}}
	names := func(v workload.PolicyView) []string { return []string{v.Name} }
	if got, err := named(append([]workload.PolicyView{}, l...), workload.Policy, "ns/b", names); err != nil || len(got) != 1 || got[0].Name != "ns/b" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := named(append([]workload.PolicyView{}, l...), workload.Policy, "", names); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	_, err := named(append([]workload.PolicyView{}, l...), workload.Policy, "ns/c", names)
	if exit.Code(err) != exit.NotUp || !strings.Contains(err.Error(), "policy ns/c: not found") {
		t.Errorf("%v", err)
	}
}
