// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
)

const ownService = `
kind: Cluster
name: echo
lbPolicy: RANDOM
loadAssignment:
  clusterName: echo
  endpoints:
  - priority: 1
    lbEndpoints:
    - address: 10.1.0.1:8080
      loadBalancingWeight: 3
    - address: "[2001:db8::1]:8080"
---
kind: Listener
name: echo
address: 10.0.0.1:80
filterChains:
- filters:
  - name: tcp
    tcpProxy: {cluster: echo}
---
kind: RouteConfiguration
name: r
virtualHosts:
- name: v
  domains: ["*"]
  routes: [{match: {prefix: /}, route: {cluster: echo}}]
`

func TestOwnMessages(t *testing.T) {
	s := fakeStore{}
	s.apply(t, `{"kind":"Cluster","name":"other"}`)
	s.apply(t, ownService)
	c := s.cluster(t, "echo")
	if c.GetLbPolicy() != cluster.Cluster_RANDOM || endpointsOf(c) != "10.1.0.1:8080 [2001:db8::1]:8080" {
		t.Errorf("cluster %v", c)
	}
	if got := s.listener(t, "10.0.0.1:80").GetFilterChains()[0].GetFilters()[0].GetTcpProxy().GetCluster(); got != "echo" {
		t.Errorf("listener leads to %q", got)
	}
	if s.keys(config.Cluster) != "echo other" || s.keys(config.Route) != "r" {
		t.Errorf("own messages are partial; left %s, %s", s.keys(config.Cluster), s.keys(config.Route))
	}
}

// The raw form of protobuf, in network byte order, is taken as well.
func TestOwnRawAddress(t *testing.T) {
	a := config.SocketAddress(netip.MustParseAddrPort("10.0.0.1:80"))
	s := fakeStore{}
	s.apply(t, fmt.Sprintf(`{"static_resources":{"listener_configs":[{"name":"l","address":{"port":%d,"ipv4":%d}}]}}`, a.GetPort(), a.GetIpv4()))
	if got := s.keys(config.Listener); got != "10.0.0.1:80" {
		t.Errorf("raw address is %s", got)
	}
}

// A listener of several addresses comes back as several own messages of one name.
func TestOwnListenersKeepOtherAddresses(t *testing.T) {
	s := fakeStore{}
	s.apply(t, `{"kind":"Listener","name":"l","address":"10.0.0.1:80"}`, `{"kind":"Listener","name":"l","address":"10.0.0.2:80"}`)
	s.apply(t, `{"kind":"Listener","name":"l","address":"10.0.0.3:80"}`)
	if got := s.keys(config.Listener); got != "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80" {
		t.Errorf("listeners %s", got)
	}
	r := s.apply(t, `{"kind":"Listener","name":"m","address":"10.0.0.3:80"}`)
	wantOne(t, r.Warnings, "Listener m: takes the place of Listener l at 10.0.0.3:80")
	dump := `{"kind":"ConfigDump","staticResources":{"listenerConfigs":[{"name":"l","address":"10.0.0.1:80"},{"name":"l","address":"10.0.0.1:80"}]}}`
	if got := rejected(t, s, dump); !strings.Contains(got, "address: 10.0.0.1:80 stands in one document twice") {
		t.Error(got)
	}
}

func TestOwnAssignment(t *testing.T) {
	const eps = `{"kind":"ClusterLoadAssignment","clusterName":"%","endpoints":[{"lbEndpoints":[{"address":"10.1.0.9:1"}]}]}`
	s := fakeStore{}
	s.apply(t, `{"kind":"Cluster","name":"static"}`, delta(typeCluster, "", edsCluster("eds")))
	r := s.apply(t, strings.Replace(eps, "%", "static", 1), strings.Replace(eps, "%", "eds", 1), strings.Replace(eps, "%", "none", 1))
	for _, name := range []string{"static", "eds"} {
		if got := endpointsOf(s.cluster(t, name)); got != "10.1.0.9:1" {
			t.Errorf("%s has %q", name, got)
		}
	}
	wantOne(t, r.Warnings, "ClusterLoadAssignment none: no cluster takes these endpoints")
}

// An own cluster brings its endpoints; which came later counts.
func TestOwnClusterAgainstEndpoints(t *testing.T) {
	const own = `{"kind":"Cluster","name":"c","discoveryType":"EDS","loadAssignment":{"endpoints":[{"lbEndpoints":[{"address":"10.1.0.1:1"}]}]}}`
	eds := sotw(typeEndpoint, assignmentOf("c", "10.1.0.2:1"))
	for _, c := range []struct {
		docs []string
		want string
	}{
		{[]string{own, eds}, "10.1.0.2:1"},
		{[]string{eds, own}, "10.1.0.1:1"},
		{[]string{own, `{"kind":"Cluster","name":"c","discoveryType":"EDS"}`}, ""},
	} {
		s := fakeStore{}
		s.apply(t, c.docs...)
		if got := endpointsOf(s.cluster(t, "c")); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	s := fakeStore{}
	s.apply(t, own)
	s.apply(t, `{"kind":"Cluster","name":"c","discoveryType":"EDS","connectTimeout":9}`)
	if got := endpointsOf(s.cluster(t, "c")); got != "10.1.0.1:1" {
		t.Errorf("endpoints that came before: %q", got)
	}
}
