// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/endpoint"
	"github.com/kmesh-net/kmesh-node/proto/security"
)

// The captures in testdata are the exact bytes of a real control plane.

func applyCapture(t *testing.T, dir string, ext string) (fakeStore, *Result) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*"+ext))
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s in %s: %v", ext, dir, err)
	}
	docs, err := Load(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := fakeStore{}
	r, err := Translate(docs, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.publish(r.Ops)
	return s, r
}

func TestCaptureSidecarFile(t *testing.T) {
	s, r := applyCapture(t, "sidecar-file", ".pb")
	if got, want := s.keys(config.Listener),
		"0.0.0.0:15001 0.0.0.0:15006 0.0.0.0:7070 0.0.0.0:80 10.96.0.10:9080 10.96.0.11:9080 10.96.0.11:9443"; got != want {
		t.Errorf("listeners %s, want %s", got, want)
	}
	for _, key := range []string{"0.0.0.0:15001", "0.0.0.0:15006"} {
		if l := s.listener(t, key); !l.GetPassthrough() {
			t.Errorf("%s is a service listener, want it left alone", l.GetName())
		}
	}
	weighted := s.listener(t, "10.96.0.10:9080")
	var weights []uint32
	for _, w := range weighted.GetFilterChains()[0].GetFilters()[0].GetTcpProxy().GetWeightedClusters().GetClusters() {
		weights = append(weights, w.GetWeight())
	}
	if weighted.GetPassthrough() || !slices.Equal(weights, []uint32{70, 20, 10}) {
		t.Errorf("weights of tcp-a %v, want 70 20 10", weights)
	}
	http := s.listener(t, "0.0.0.0:80")
	if m := http.GetFilterChains()[0].GetFilters()[0].GetHttpConnectionManager(); m.GetRouteConfigName() != "80" {
		t.Errorf("routes of 0.0.0.0_80: %v, want those of configuration 80", m)
	}
	if c := http.GetDefaultFilterChain().GetFilters()[0].GetTcpProxy().GetCluster(); c != "PassthroughCluster" {
		t.Errorf("default chain leads to %s", c)
	}
	b := s.cluster(t, "outbound|9080||tcp-b.ns.svc.cluster.local")
	if got := endpointsOf(b); got != "10.0.3.1:9082 10.0.4.1:9082" {
		t.Errorf("endpoints of tcp-b: %s", got)
	}
	if b.GetLbPolicy() != cluster.Cluster_LEAST_REQUEST || b.GetDiscoveryType() != cluster.Cluster_EDS {
		t.Errorf("tcp-b is %s %s", b.GetLbPolicy(), b.GetDiscoveryType())
	}
	a := s.cluster(t, "outbound|9080||tcp-a.ns.svc.cluster.local")
	if a.GetLbPolicy() != cluster.Cluster_ROUND_ROBIN || a.GetConnectTimeout() != 3 || a.GetCircuitBreakers().GetMaxConnections() != 100 {
		t.Errorf("tcp-a: %v", a)
	}
	zone2 := a.GetLoadAssignment().GetEndpoints()[1]
	if zone2.GetLoadBalancingWeight() != 3 || zone2.GetLocality().GetZone() != "zone2" || zone2.GetLbEndpoints()[0].GetLoadBalancingWeight() != 3 {
		t.Errorf("tcp-a in zone2: %v", zone2)
	}
	for _, name := range []string{"PassthroughCluster", "InboundPassthroughCluster"} {
		if !s.cluster(t, name).GetPassthrough() {
			t.Errorf("%s is not left alone", name)
		}
	}
	if c := s.cluster(t, "BlackHoleCluster"); c.GetPassthrough() || c.GetLoadAssignment() != nil {
		t.Errorf("BlackHoleCluster: %v", c)
	}
	wantLines(t, r.Warnings,
		"Cluster outbound|9080|v1|tcp-a.ns.svc.cluster.local: its endpoints expect Istio mutual TLS: kmesh-node sends plain text",
		"Cluster outbound|9080||tcp-a.ns.svc.cluster.local: its endpoints expect Istio mutual TLS: kmesh-node sends plain text")
	wantLines(t, r.Notes,
		"Cluster outbound|7070||ext.example.com: endpoints: ext.example.com:7070: no TCP address, and kmesh-node resolves no names: connections pass through",
		"RouteConfiguration 80: virtual host http-c.ns.svc.cluster.local:80: first route depends on the request (prefix /v2, header end-user): connections pass through")
	rc := s.route(t, "80")
	if got := rc.GetVirtualHosts()[0].GetDomains(); !slices.Contains(got, "10.96.0.12") {
		t.Errorf("domains %q lack the address", got)
	}
	if n := s.cluster(t, "outbound|7070||ext.example.com").GetNotes(); len(n) != 1 {
		t.Errorf("notes in the message: %q, want the one", n)
	}
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCaptureSidecarKube(t *testing.T) {
	s, r := applyCapture(t, "sidecar-kube-nohbone", ".pb")
	if got, want := s.keys(config.Listener),
		"0.0.0.0:15001 0.0.0.0:15006 10.96.0.1:443 10.96.1.1:80 10.96.1.2:90 10.96.1.50:15008"; got != want {
		t.Errorf("listeners %s, want %s", got, want)
	}
	if got := endpointsOf(s.cluster(t, "outbound|90||echo-b.ns.svc.cluster.local")); got != "10.244.1.21:9090 10.244.1.22:9090 10.244.2.23:9090" {
		t.Errorf("endpoints of echo-b: %s", got)
	}
	if got := endpointsOf(s.cluster(t, "outbound|443||kubernetes.default.svc.cluster.local")); got != "" {
		t.Errorf("endpoints of kubernetes: %s, want none", got)
	}
	wantNone(t, r.Warnings)
	wantLines(t, r.Notes, "Listener connect_originate: internal listener: no connection is opened to it")
}

func TestCaptureScale(t *testing.T) {
	s, r := applyCapture(t, "scale-1000", ".pb")
	if n := len(s[config.Cluster]); n != 1003 {
		t.Errorf("%d clusters, want 1003", n)
	}
	if n := len(s[config.Listener]); n != 1002 {
		t.Errorf("%d listeners, want 1002", n)
	}
	for i, m := range s[config.Cluster] {
		if n := len(strings.Fields(endpointsOf(m.(*cluster.Cluster)))); n != 10 && strings.HasPrefix(i, "outbound") {
			t.Errorf("%s has %d endpoints, want 10", i, n)
		}
	}
	wantNone(t, r.Warnings)
	wantNone(t, r.Notes)
	if c := r.Counts[config.Cluster]; c != (Count{Updated: 1003}) {
		t.Errorf("counts %+v", c)
	}
}

// The property that apply of either form gives the same.
func TestCaptureBinaryEqualsJSON(t *testing.T) {
	for _, dir := range []string{"sidecar-file", "sidecar-kube-nohbone"} {
		fromBinary, r1 := applyCapture(t, dir, ".pb")
		fromJSON, r2 := applyCapture(t, dir, ".json")
		sameMessages(t, fromJSON, fromBinary)
		if !slices.Equal(r1.Notes, r2.Notes) || !slices.Equal(r1.Warnings, r2.Warnings) {
			t.Errorf("%s: binary %q %q, JSON %q %q", dir, r1.Notes, r1.Warnings, r2.Notes, r2.Warnings)
		}
	}
}

// Applying what is there changes nothing, in bytes as well.
func TestCaptureAgainChangesNothing(t *testing.T) {
	for _, dir := range []string{"sidecar-file", "sidecar-kube-nohbone", "scale-1000"} {
		s, first := applyCapture(t, dir, ".pb")
		docs, err := Load([]string{filepath.Join("testdata", dir)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Translate(docs, s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for k, c := range r.Counts {
			if c.Updated+c.Deleted > 0 {
				t.Errorf("%s: %s: %+v, want all unchanged", dir, k, c)
			}
		}
		if len(r.Ops) != len(first.Ops) {
			t.Fatalf("%s: %d operations, then %d", dir, len(first.Ops), len(r.Ops))
		}
		for i := range r.Ops {
			if wire(t, r.Ops[i].Message) != wire(t, first.Ops[i].Message) {
				t.Errorf("%s: operation %d differs in bytes", dir, i)
			}
		}
	}
}

func wire(t *testing.T, m proto.Message) string {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What get prints, apply takes, and it is the same.
func TestRenderRoundTrip(t *testing.T) {
	for _, dir := range []string{"sidecar-file", "sidecar-kube-nohbone"} {
		s, _ := applyCapture(t, dir, ".pb")
		var texts []string
		for _, k := range config.Kinds() {
			for _, m := range s[k] {
				texts = append(texts, rendered(t, m))
			}
		}
		again := fakeStore{}
		again.apply(t, "["+strings.Join(texts, ",")+"]")
		sameMessages(t, again, s)
	}
}

func TestRenderReadable(t *testing.T) {
	s, _ := applyCapture(t, "sidecar-file", ".pb")
	text := rendered(t, s.cluster(t, "outbound|80|v1|http-c.ns.svc.cluster.local"))
	for _, want := range []string{`"kind":"Cluster"`, `"address":"10.0.5.1:8080"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	// An address that cannot be written as a string stays what it is.
	odd := &endpoint.Endpoint{Address: config.SocketAddress(netip.MustParseAddrPort("10.0.0.1:80"))}
	odd.Address.Port |= 1 << 16
	if text := rendered(t, odd); !strings.Contains(text, `"port":`) {
		t.Errorf("%s: want the raw address", text)
	}
}

func TestWorkloadTypesNeedTheOtherMode(t *testing.T) {
	for _, ext := range []string{"pb", "json"} {
		data, err := os.ReadFile(filepath.Join("testdata", "ambient", "01-Address."+ext))
		if err != nil {
			t.Fatal(err)
		}
		docs, err := Parse("01-Address."+ext, data)
		if err != nil || len(docs) != 1 || docs[0].Kind != KindAddress || docs[0].Complete || len(docs[0].Resources) != 11 {
			t.Fatalf("%s: %v, want the delta of 11", ext, err)
		}
		for _, skip := range []bool{false, true} {
			_, err = Translate(docs, fakeStore{}, Options{SkipInvalid: skip})
			if exit.Code(err) != exit.Rejected || !strings.Contains(err.Error(), "istio.workload.Address needs --mode workload") {
				t.Errorf("%s: %v", ext, err)
			}
		}
	}
}

func TestWorkloadTypesParse(t *testing.T) {
	const auth = "type.googleapis.com/istio.security.Authorization"
	yaml := "typeUrl: " + auth + "\nresources:\n- \"@type\": " + auth + "\n  name: a\n  namespace: ns\n  action: DENY\n"
	docs, err := Parse("p.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	d := docs[0]
	if d.Kind != KindAuthorization || !d.Complete || len(d.Resources) != 1 ||
		d.Resources[0].(*security.Authorization).GetAction() != security.Action_DENY {
		t.Errorf("%+v, want a complete document of one DENY", d)
	}
	docs, err = Parse("p.json", []byte(`{"typeUrl":"type.googleapis.com/istio.workload.Address","removedResources":["x","y"]}`))
	if err != nil || docs[0].Complete || len(docs[0].Removed) != 2 {
		t.Errorf("%+v, %v, want a delta that removes two", docs, err)
	}
}

func rendered(t *testing.T, m proto.Message) string {
	t.Helper()
	object, err := Render(m)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
