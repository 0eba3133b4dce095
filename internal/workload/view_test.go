// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// What get prints of what a real control plane sent, read back by another process.
func TestViews(t *testing.T) {
	k := newKernel(t)
	k.settle(nodeSettings{name: "node1", waypointPort: 15019})
	apply(t, k.open(Options{}), load(t, "testdata/ambient-real"))
	s := k.open(Options{})
	services, err := s.Services()
	if err != nil || len(services) != 4 {
		t.Fatalf("%d services, %v", len(services), err)
	}
	i := slices.IndexFunc(services, func(v ServiceView) bool { return v.Name == "ns/echo-b.ns.svc.cluster.local" })
	wantJSON(t, services[i], `{"name":"ns/echo-b.ns.svc.cluster.local","addresses":["10.96.1.2"],"ports":[{"service_port":90,"target_port":9090}],`+
		`"endpoints":[{"address":"10.244.1.21:9090","workload":"Kubernetes//Pod/ns/echo-b-1","share":0.3333333333333333},`+
		`{"address":"10.244.1.22:9090","workload":"Kubernetes//Pod/ns/echo-b-2","share":0.3333333333333333},`+
		`{"address":"10.244.2.23:9090","workload":"Kubernetes//Pod/ns/echo-b-3","share":0.3333333333333333}],"healthy":3,"total":3,`+
		`"waypoint":"ns/waypoint.ns.svc.cluster.local:15019","load_balancing":"round robin","frontends":[{"address":"10.96.1.2","port":90,`+
		`"endpoints":[{"address":"10.244.1.21:9090","workload":"Kubernetes//Pod/ns/echo-b-1","share":0.3333333333333333},`+
		`{"address":"10.244.1.22:9090","workload":"Kubernetes//Pod/ns/echo-b-2","share":0.3333333333333333},`+
		`{"address":"10.244.2.23:9090","workload":"Kubernetes//Pod/ns/echo-b-3","share":0.3333333333333333}],`+
		`"via":[{"address":"10.244.1.50:15019","workload":"Kubernetes//Pod/ns/waypoint-1","share":1}]}],"notes":[]}`)

	workloads, err := s.Workloads()
	if err != nil || len(workloads) != 7 {
		t.Fatalf("%d workloads, %v", len(workloads), err)
	}
	wantJSON(t, workloads[0], `{"uid":"Kubernetes//Pod/ns/echo-a-1","name":"echo-a-1","namespace":"ns","addresses":["10.244.1.11"],"node":"node1",`+
		`"identity":"cluster.local/ns/ns/sa/echo-a","status":"healthy","services":["ns/echo-a.ns.svc.cluster.local"],`+
		`"policies":["ns/allow-a","ns/deny-cidr"],"waypoint":"","locality":"region1/zone1/sub1","frontends":[],"notes":[]}`)

	id := s.live.model.res[Policy]["ns/deny-cidr"].num
	denials := uint64(7)
	if err := bpfmap.Update(k.fds["km_denied"], raw(&id), raw(&denials)); err != nil {
		t.Fatal(err)
	}
	policies, err := s.Policies()
	if err != nil || len(policies) != 3 {
		t.Fatalf("%d policies, %v", len(policies), err)
	}
	wantJSON(t, policies[2], `{"name":"ns/deny-cidr","scope":"namespace","action":"deny","groups":1,"denied":7,"notes":[]}`)
	// Applied again, in another version, the count stays.
	docs := load(t, "testdata/ambient-real")
	docs[1].Resources = docs[1].Resources[:1]
	apply(t, s, docs)
	if policies, err = s.Policies(); err != nil || policies[2].Denied != 7 {
		t.Errorf("%+v, %v", policies[2], err)
	}
	if n, err := s.DeniedByNone(); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// wantJSON compares v's JSON form.
func wantJSON(t *testing.T, v any, want string) {
	t.Helper()
	got, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
