// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
)

func TestCompleteRemovesWhatItDoesNotName(t *testing.T) {
	s := fakeStore{}
	s.apply(t, sotw(typeCluster, `"name":"a"`, `"name":"b"`), sotw(typeListener, tcpListener("l", "10.0.0.1:80", "a"), tcpListener("m", "10.0.0.2:80", "a")))
	s.apply(t, `{"kind":"Cluster","name":"mine"}`)
	r := s.apply(t, sotw(typeCluster, `"name":"b"`), sotw(typeListener, tcpListener("m", "10.0.0.2:80", "a")))
	if s.keys(config.Cluster) != "b" || s.keys(config.Listener) != "10.0.0.2:80" {
		t.Errorf("left: %s, %s", s.keys(config.Cluster), s.keys(config.Listener))
	}
	if c := r.Counts[config.Cluster]; c != (Count{Deleted: 2, Unchanged: 1}) {
		t.Errorf("clusters %+v", c)
	}
	if c := r.Counts[config.Listener]; c != (Count{Deleted: 1, Unchanged: 1}) {
		t.Errorf("listeners %+v", c)
	}
}

func TestEmptyCompleteWarns(t *testing.T) {
	s := fakeStore{}
	s.apply(t, sotw(typeCluster, `"name":"a"`))
	r := s.apply(t, sotw(typeCluster))
	if s.keys(config.Cluster) != "" {
		t.Errorf("left: %s", s.keys(config.Cluster))
	}
	wantOne(t, r.Warnings, "every Cluster goes away")
}

func TestPartialKeepsTheRest(t *testing.T) {
	s := fakeStore{}
	s.apply(t, sotw(typeCluster, edsCluster("a"), edsCluster("b")), sotw(typeRoute, `"name":"r"`, `"name":"q"`),
		sotw(typeEndpoint, assignmentOf("a", "10.1.0.1:1"), assignmentOf("b", "10.1.0.2:1")))
	s.apply(t, sotw(typeEndpoint, assignmentOf("b", "10.1.0.3:1")), sotw(typeRoute, `"name":"r"`), delta(typeCluster, "", edsCluster("c")))
	if got := endpointsOf(s.cluster(t, "a")); got != "10.1.0.1:1" {
		t.Errorf("a has %s", got)
	}
	if got := endpointsOf(s.cluster(t, "b")); got != "10.1.0.3:1" {
		t.Errorf("b has %s", got)
	}
	if s.keys(config.Cluster) != "a b c" || s.keys(config.Route) != "q r" {
		t.Errorf("left: %s, %s", s.keys(config.Cluster), s.keys(config.Route))
	}
}

func TestDeltaRemovesByName(t *testing.T) {
	s := fakeStore{}
	s.apply(t, sotw(typeCluster, edsCluster("a"), edsCluster("b")), sotw(typeEndpoint, assignmentOf("a", "10.1.0.1:1"), assignmentOf("b", "10.1.0.2:1")),
		sotw(typeRoute, `"name":"80"`), sotw(typeListener, tcpListener("l", "10.0.0.1:80", "a")))
	r := s.apply(t, delta(typeCluster, "a none"), delta(typeEndpoint, "b"), delta(typeRoute, "80"), delta(typeListener, "l"))
	if s.keys(config.Cluster) != "b" || s.keys(config.Route) != "" || s.keys(config.Listener) != "" {
		t.Errorf("left: %s, %s, %s", s.keys(config.Cluster), s.keys(config.Route), s.keys(config.Listener))
	}
	if got := endpointsOf(s.cluster(t, "b")); got != "" {
		t.Errorf("b has %s", got)
	}
	if c := r.Counts[config.Cluster]; c.Deleted != 1 {
		t.Errorf("clusters %+v, want one deleted", c)
	}
}

// Endpoints and their cluster meet in either order, in one batch or in two.
func TestEndpointsMeetTheirCluster(t *testing.T) {
	cds, eds := sotw(typeCluster, edsCluster("a")), sotw(typeEndpoint, assignmentOf("a", "10.1.0.1:1"))
	for _, batches := range [][][]string{{{cds, eds}}, {{eds, cds}}, {{cds}, {eds}}, {{cds, eds}, {cds}}} {
		s := fakeStore{}
		for _, b := range batches {
			s.apply(t, b...)
		}
		if got := endpointsOf(s.cluster(t, "a")); got != "10.1.0.1:1" {
			t.Errorf("%d batches: a has %q", len(batches), got)
		}
	}
}

func TestEndpointsOfSeveralClusters(t *testing.T) {
	named := func(c string) string {
		return fmt.Sprintf(`"name":%q,"type":"EDS","edsClusterConfig":{"serviceName":"shared"}`, c)
	}
	s := fakeStore{}
	r := s.apply(t, sotw(typeCluster, named("a"), named("b"), `"name":"shared","type":"STATIC"`),
		sotw(typeEndpoint, assignmentOf("shared", "10.1.0.1:1"), assignmentOf("nobody", "10.1.0.9:1")))
	for _, name := range []string{"a", "b"} {
		if got := endpointsOf(s.cluster(t, name)); got != "10.1.0.1:1" {
			t.Errorf("%s has %q", name, got)
		}
	}
	if got := endpointsOf(s.cluster(t, "shared")); got != "" {
		t.Errorf("a cluster without EDS took %q", got)
	}
	wantOne(t, r.Warnings, "ClusterLoadAssignment nobody: no cluster takes these endpoints")
}

func TestNotesAboutEndpointsFollowThem(t *testing.T) {
	s := fakeStore{}
	cds := sotw(typeCluster, edsCluster("a")+`,"outlierDetection":{}`)
	s.apply(t, cds, sotw(typeEndpoint, assignmentOf("a", "host.example:1")))
	s.apply(t, cds)
	wantOne(t, s.cluster(t, "a").GetNotes(), "endpoints: host.example:1")
	s.apply(t, sotw(typeEndpoint, assignmentOf("a", "10.0.0.1:1")))
	wantLines(t, s.cluster(t, "a").GetNotes(), "outlier_detection: kmesh-node's own settings apply in its place")
}

func TestLaterDocumentsWin(t *testing.T) {
	s := fakeStore{}
	s.apply(t, sotw(typeCluster, `"name":"a","connectTimeout":"1s"`, `"name":"b"`), delta(typeCluster, "b", `"name":"a","connectTimeout":"2s"`, `"name":"c"`),
		sotw(typeListener, tcpListener("l", "10.0.0.1:80", "a")), delta(typeListener, "", tcpListener("l", "10.0.0.2:80", "a")))
	if s.keys(config.Cluster) != "a c" || s.cluster(t, "a").GetConnectTimeout() != 2 {
		t.Errorf("clusters %s, %v", s.keys(config.Cluster), s.cluster(t, "a"))
	}
	if s.keys(config.Listener) != "10.0.0.2:80" {
		t.Errorf("listeners %s", s.keys(config.Listener))
	}
	s = fakeStore{}
	s.apply(t, delta(typeCluster, "", `"name":"gone"`), sotw(typeCluster, `"name":"a"`))
	if s.keys(config.Cluster) != "a" {
		t.Errorf("clusters %s: a complete response stands over what came before", s.keys(config.Cluster))
	}
}

// The store knows listeners by address: one that moves leaves its old address.
func TestListenerThatMoves(t *testing.T) {
	s := fakeStore{}
	two := `"name":"l","address":` + socketAddress("10.0.0.1:80") + `,"additionalAddresses":[{"address":` + socketAddress("[2001:db8::1]:80") + `}]`
	s.apply(t, delta(typeListener, "", two, tcpListener("m", "10.0.0.9:80", "a")))
	if got := s.keys(config.Listener); got != "10.0.0.1:80 10.0.0.9:80 [2001:db8::1]:80" {
		t.Fatalf("listeners %s", got)
	}
	r := s.apply(t, delta(typeListener, "", tcpListener("l", "10.0.0.2:80", "a")))
	if got := s.keys(config.Listener); got != "10.0.0.2:80 10.0.0.9:80" {
		t.Errorf("listeners %s", got)
	}
	wantNone(t, r.Warnings)
	// An exchange of addresses is no conflict.
	r = s.apply(t, delta(typeListener, "", tcpListener("l", "10.0.0.9:80", "a"), tcpListener("m", "10.0.0.2:80", "a")))
	if s.listener(t, "10.0.0.9:80").GetName() != "l" || s.listener(t, "10.0.0.2:80").GetName() != "m" {
		t.Errorf("listeners did not exchange their addresses: %v", s[config.Listener])
	}
	wantNone(t, r.Warnings)
	r = s.apply(t, delta(typeListener, "", tcpListener("n", "10.0.0.2:80", "a")))
	wantOne(t, r.Warnings, "Listener n: takes the place of Listener m at 10.0.0.2:80")
	r = s.apply(t, sotw(typeListener, tcpListener("o", "10.0.0.2:80", "a")))
	wantNone(t, r.Warnings)
}

func TestTwoListenersOnOneAddress(t *testing.T) {
	a, b := tcpListener("a", "10.0.0.1:80", "c"), tcpListener("b", "10.0.0.1:80", "c")
	for _, docs := range [][]string{{sotw(typeListener, a, b)}, {delta(typeListener, "", a), delta(typeListener, "", b)}} {
		if got := rejected(t, fakeStore{}, docs...); !strings.Contains(got, "Listener b: address: 10.0.0.1:80 is also the address of Listener a") {
			t.Errorf("%s", got)
		}
	}
	s := fakeStore{}
	s.apply(t, delta(typeListener, "", a))
	r := s.apply(t, delta(typeListener, "a", b))
	wantNone(t, r.Warnings)
	udp := strings.Replace(tcpListener("u", "10.0.0.1:80", "c"), `"portValue"`, `"protocol":"UDP","portValue"`, 1)
	s.apply(t, sotw(typeListener, a, udp))
	if got := s.keys(config.Listener); got != "10.0.0.1:80 10.0.0.1:80/udp" {
		t.Errorf("listeners %s", got)
	}
}

func TestTwiceInOneResponse(t *testing.T) {
	for _, doc := range []string{
		sotw(typeCluster, `"name":"a"`, `"name":"a"`),
		sotw(typeRoute, `"name":"a"`, `"name":"a"`),
		sotw(typeEndpoint, `"clusterName":"a"`, `"clusterName":"a"`),
		sotw(typeListener, tcpListener("a", "10.0.0.1:80", "c"), tcpListener("a", "10.0.0.2:80", "c")),
	} {
		if got := rejected(t, fakeStore{}, doc); !strings.Contains(got, " a: stands in one document twice") {
			t.Errorf("%s", got)
		}
	}
}

func TestSkipInvalid(t *testing.T) {
	bad := `"name":"bad","type":"STATIC","loadAssignment":{"clusterName":"bad","endpoints":[{"lbEndpoints":[{"endpoint":{"address":` + socketAddress("10.0.0.1:70000") + `}}]}]}`
	cds := sotw(typeCluster, `"name":"good"`, bad, bad)
	lds := sotw(typeListener, tcpListener("worse", "10.0.0.1:0", "c"), tcpListener("fine", "10.0.0.2:80", "c"))
	s := fakeStore{}
	s.apply(t, sotw(typeCluster, `"name":"bad"`, `"name":"old"`), sotw(typeListener, tcpListener("worse", "10.0.0.1:80", "c"), tcpListener("old", "10.0.0.3:80", "c")))

	got := rejected(t, s, cds, lds)
	for _, want := range []string{
		"check configuration: input0: Cluster bad: load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value: port 70000 is not 1..65535",
		"2 more are invalid", "--skip-invalid",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s: lacks %q", got, want)
		}
	}
	r, err := Translate(mustParse(t, cds, lds), s, Options{SkipInvalid: true})
	if err != nil {
		t.Fatal(err)
	}
	s.publish(r.Ops)
	if len(r.Rejected) != 3 {
		t.Errorf("skipped %v, want 3", r.Rejected)
	}
	if s.keys(config.Cluster) != "bad good" || s.keys(config.Listener) != "10.0.0.1:80 10.0.0.2:80" {
		t.Errorf("left: %s, %s; what is skipped stays as it was", s.keys(config.Cluster), s.keys(config.Listener))
	}
}

type brokenStore struct{}

var errBroken = errors.New("maps are gone")

func (brokenStore) List(config.Kind) ([]proto.Message, error) { return nil, errBroken }

func TestErrorsOfTheStorePassThrough(t *testing.T) {
	for _, doc := range []string{sotw(typeCluster), sotw(typeListener), sotw(typeRoute, `"name":"r"`), delta(typeListener, "", tcpListener("l", "10.0.0.1:80", "c"))} {
		if _, err := Translate(mustParse(t, doc), brokenStore{}, Options{SkipInvalid: true}); !errors.Is(err, errBroken) {
			t.Errorf("%v, want the store's error", err)
		}
	}
}
