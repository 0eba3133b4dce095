// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
)

func TestBalancing(t *testing.T) {
	policy := func(types ...string) string {
		items := make([]string, len(types))
		for i, p := range types {
			items[i] = fmt.Sprintf(`{"typedExtensionConfig":{"name":"p%d","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.load_balancing_policies.%s","choiceCount":9}}}`, i, p)
		}
		return `"loadBalancingPolicy":{"policies":[` + strings.Join(items, ",") + `]}`
	}
	for _, c := range []struct {
		fields string
		want   cluster.Cluster_LbPolicy
		note   string // empty: connections are balanced
	}{
		{`"lbPolicy":"ROUND_ROBIN"`, cluster.Cluster_ROUND_ROBIN, ""},
		{`"type":"STATIC"`, cluster.Cluster_ROUND_ROBIN, ""},
		{`"lbPolicy":"LEAST_REQUEST"`, cluster.Cluster_LEAST_REQUEST, ""},
		{`"lbPolicy":"RANDOM"`, cluster.Cluster_RANDOM, ""},
		{`"lbPolicy":"RING_HASH"`, 0, "lb_policy RING_HASH: connections pass through"},
		{`"lbPolicy":"MAGLEV"`, 0, "lb_policy MAGLEV: connections pass through"},
		{policy("unknown.v3.Unknown", "random.v3.Random"), cluster.Cluster_RANDOM, ""},
		{policy("least_request.v3.LeastRequest", "random.v3.Random"), cluster.Cluster_LEAST_REQUEST, ""},
		{policy("ring_hash.v3.RingHash"), 0, "load_balancing_policy p0: connections pass through"},
		{policy(), 0, "load_balancing_policy without a policy: connections pass through"},
		{`"clusterType":{"name":"envoy.clusters.aggregate"}`, 0, "cluster_type envoy.clusters.aggregate: connections pass through"},
		{`"lbSubsetConfig":{"subsetSelectors":[{"keys":["v"]}]}`, 0, "lb_subset_config: endpoints are not chosen by metadata: connections pass through"},
	} {
		s := fakeStore{}
		r := s.apply(t, sotw(typeCluster, `"name":"c",`+c.fields))
		m := s.cluster(t, "c")
		if m.GetPassthrough() != (c.note != "") || m.GetLbPolicy() != c.want {
			t.Errorf("%s: passthrough %t, %s", c.fields, m.GetPassthrough(), m.GetLbPolicy())
		}
		if c.note == "" {
			wantNone(t, r.Notes)
		} else {
			wantLines(t, r.Notes, "Cluster c: "+c.note)
			wantLines(t, m.GetNotes(), c.note)
		}
	}
}

func TestConnectTimeoutRoundsUp(t *testing.T) {
	s := fakeStore{}
	s.apply(t, sotw(typeCluster, `"name":"c","connectTimeout":"0.25s"`))
	if got := s.cluster(t, "c").GetConnectTimeout(); got != 1 {
		t.Errorf("0.25s is %d", got)
	}
	if got := rejected(t, s, sotw(typeCluster, `"name":"c","connectTimeout":"-1s"`)); !strings.Contains(got, "Cluster c: connect_timeout: -1s is negative") {
		t.Error(got)
	}
}

func TestEndpointStates(t *testing.T) {
	lb := func(addr, rest string) string {
		return `{"endpoint":{"address":` + addr + `}` + rest + `}`
	}
	ip := func(i int) string { return socketAddress(fmt.Sprintf("10.0.0.%d:80", i)) }
	s := fakeStore{}
	r := s.apply(t, sotw(typeCluster, edsCluster("c")), sotw(typeEndpoint, `"clusterName":"c","endpoints":[{"priority":3,"loadBalancingWeight":7,"lbEndpoints":[`+strings.Join([]string{
		lb(ip(1), `,"healthStatus":"HEALTHY","loadBalancingWeight":5`),
		lb(ip(2), `,"healthStatus":"UNHEALTHY"`),
		lb(ip(3), `,"healthStatus":"DRAINING"`),
		lb(ip(4), `,"healthStatus":"TIMEOUT"`),
		lb(ip(5), `,"healthStatus":"DEGRADED"`),
		lb(`{"pipe":{"path":"/run/x"}}`, ""),
		lb(`{"envoyInternalAddress":{"serverListenerName":"inner"}}`, ""),
		lb(`{"socketAddress":{"address":"::ffff:10.0.0.6","portValue":80}}`, ""),
		lb(`{"socketAddress":{"address":"10.0.0.7","namedPort":"http"}}`, ""),
		lb(`{"socketAddress":{"protocol":"UDP","address":"10.0.0.8","portValue":53}}`, ""),
	}, ",")+`]}],"policy":{"dropOverloads":[{"category":"throttle"}]}`))
	l := s.cluster(t, "c").GetLoadAssignment().GetEndpoints()[0]
	if l.GetPriority() != 3 || l.GetLoadBalancingWeight() != 7 || l.GetLbEndpoints()[0].GetLoadBalancingWeight() != 5 {
		t.Errorf("priority and weights: %v", l)
	}
	if got := endpointsOf(s.cluster(t, "c")); got != "10.0.0.1:80 10.0.0.5:80 10.0.0.6:80" {
		t.Errorf("usable: %s", got)
	}
	var unhealthy int
	var unresolved []string
	for _, e := range l.GetLbEndpoints() {
		if e.GetUnhealthy() {
			unhealthy++
		}
		if e.GetUnresolved() != "" {
			unresolved = append(unresolved, e.GetUnresolved())
		}
	}
	if unhealthy != 3 {
		t.Errorf("%d unhealthy, want 3", unhealthy)
	}
	wantLines(t, unresolved, "pipe /run/x", "internal listener inner", "named port http", "10.0.0.8:53/udp")
	wantLines(t, r.Notes,
		"Cluster c: endpoints: pipe /run/x and 3 more: no TCP address: no connections go there",
		"Cluster c: endpoints: policy drop_overloads throttle: nothing is dropped")
}

// A dual stack endpoint counts once in each family.
func TestAdditionalAddresses(t *testing.T) {
	s := fakeStore{}
	r := s.apply(t, sotw(typeCluster, edsCluster("c")), sotw(typeEndpoint, `"clusterName":"c","endpoints":[{"lbEndpoints":[{"loadBalancingWeight":4,"endpoint":{"address":`+
		socketAddress("10.0.0.1:80")+`,"additionalAddresses":[{"address":`+socketAddress("[2001:db8::1]:80")+`},{"address":`+socketAddress("10.0.0.2:80")+`}]}}]}]`))
	if got := endpointsOf(s.cluster(t, "c")); got != "10.0.0.1:80 [2001:db8::1]:80" {
		t.Errorf("endpoints: %s", got)
	}
	if w := s.cluster(t, "c").GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[1].GetLoadBalancingWeight(); w != 4 {
		t.Errorf("weight of the second family: %d", w)
	}
	wantOne(t, r.Notes, "additional address 10.0.0.2:80 is not used")
}

func TestTLSWarnings(t *testing.T) {
	const (
		tls    = `{"name":"t","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","sni":"x"}}`
		raw    = `{"name":"r","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}`
		proxy  = `{"name":"proxy","typedConfig":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"}}`
		istio  = `,"metadata":{"filterMetadata":{"envoy.transport_socket_match":{"tlsMode":"istio","x":"y"}}}`
		other  = `,"metadata":{"filterMetadata":{"envoy.transport_socket_match":{"tlsMode":"other"}}}`
		normal = `"transportSocketMatches":[{"name":"i","match":{"tlsMode":"istio"},"transportSocket":` + tls + `},{"name":"d","match":{},"transportSocket":` + raw + `}]`
	)
	eds := func(meta string) string {
		return sotw(typeEndpoint, `"clusterName":"c","endpoints":[{"lbEndpoints":[{"endpoint":{"address":`+socketAddress("10.0.0.1:80")+`}},{"endpoint":{"address":`+socketAddress("10.0.0.2:80")+`}`+meta+`}]}]`)
	}
	for _, c := range []struct{ name, fields, meta, want string }{
		{"expected", normal, istio, istioWarning},
		{"no label", normal, "", ""},
		{"another label", normal, other, ""},
		{"TLS off for this cluster", `"connectTimeout":"1s"`, istio, ""},
		{"TLS of the cluster", `"transportSocket":` + tls, "", "its endpoints expect TLS: kmesh-node sends plain text"},
		{"raw of the cluster", `"transportSocket":` + raw, istio, ""},
		{"another socket", `"transportSocket":` + proxy, "", "its endpoints expect transport socket proxy: kmesh-node sends plain text"},
		{"left alone", normal + `,"lbPolicy":"MAGLEV"`, istio, ""},
	} {
		s := fakeStore{}
		r := s.apply(t, sotw(typeCluster, edsCluster("c")+","+c.fields), eds(c.meta))
		if c.want == "" {
			wantNone(t, r.Warnings)
		} else {
			wantLines(t, r.Warnings, "Cluster c: "+c.want)
		}
	}
	// Endpoints on their own: what the cluster said of sockets is gone by then.
	s := fakeStore{}
	s.apply(t, sotw(typeCluster, edsCluster("c")+","+normal))
	wantLines(t, s.apply(t, eds(istio)).Warnings, "Cluster c: "+istioWarning)
}

func TestClusterRejections(t *testing.T) {
	locality := func(rest string) string {
		return sotw(typeEndpoint, `"clusterName":"c","endpoints":[{"lbEndpoints":[]},{`+rest+`}]`)
	}
	endpoints := func(rest ...string) string {
		for i, r := range rest {
			rest[i] = `{"endpoint":{"address":` + socketAddress(fmt.Sprintf("10.0.0.%d:80", i)) + `}` + r + `}`
		}
		return locality(`"lbEndpoints":[` + strings.Join(rest, ",") + `]`)
	}
	long := strings.Repeat("n", config.MaxName+1)
	for _, c := range []struct{ doc, want string }{
		{sotw(typeCluster, `"connectTimeout":"1s"`), "Cluster without a name: name: is empty"},
		{sotw(typeCluster, `"name":"`+long+`"`), "name: 1025 bytes are more than the limit of 1024"},
		{sotw(typeCluster, `"name":"a\u0000b"`), "Cluster a?b: name: holds a zero byte"},
		{sotw(typeRoute, `"name":"r","virtualHosts":[{"domains":["a"],"routes":[{"match":{"prefix":"\u0000/x"},"route":{"cluster":"c"}}]}]`), "virtual_hosts[0].routes[0].match.prefix: holds a zero byte"},
		{sotw(typeCluster, `"name":"c","type":9`), "Cluster c: discovery_type: 9 is unknown"},
		{sotw(typeCluster, `"name":"c","type":"EDS","edsClusterConfig":{"serviceName":"`+long+`"}`), "eds_service_name: 1025 bytes"},
		{sotw(typeEndpoint, `"endpoints":[]`), "ClusterLoadAssignment without a name: cluster_name: is empty"},
		{locality(`"priority":129`), "ClusterLoadAssignment c: endpoints[1].priority: 129 is more than 128"},
		{locality(`"loadBalancingWeight":0`), "endpoints[1].load_balancing_weight: 0 is less than 1"},
		{endpoints(`,"loadBalancingWeight":0`), "endpoints[1].lb_endpoints[0].load_balancing_weight: 0 is less than 1"},
		{endpoints(`,"loadBalancingWeight":4294967295`, ""), "endpoints[1].lb_endpoints[1].load_balancing_weight: the endpoints of one locality weigh more than 4294967295"},
		{sotw(typeEndpoint, `"clusterName":"c","endpoints":[{"loadBalancingWeight":4294967295},{"loadBalancingWeight":1,"priority":1},{"loadBalancingWeight":1}]`), "endpoints[2].load_balancing_weight: the localities of priority 0 weigh more than"},
		{locality(`"lbEndpoints":[{"endpoint":{}}]`), "endpoints[1].lb_endpoints[0].endpoint.address: is missing"},
		{locality(`"lbEndpoints":[{"endpoint":{"address":{"socketAddress":{"portValue":1}}}}]`), "endpoint.address.socket_address.address: is empty"},
		{`{"kind":"Cluster","name":"c","lbPolicy":2}`, "Cluster c: lb_policy: 2 is unknown"},
		{`{"kind":"Cluster","name":"c","loadAssignment":{"endpoints":[{"lbEndpoints":[{"address":"1.2.3.4:5","unresolved":"x"}]}]}}`, "unresolved: stands beside an address"},
		{`{"kind":"Cluster","name":"c","loadAssignment":{"endpoints":[{"lbEndpoints":[{}]}]}}`, "load_assignment.endpoints[0].lb_endpoints[0].address: no address"},
		{`{"kind":"Cluster","name":"c","loadAssignment":{"endpoints":[{"lbEndpoints":[{"address":"1.2.3.4:5/udp"}]}]}}`, "address: is not TCP"},
		{`{"kind":"Cluster","name":"c","loadAssignment":{"endpoints":[{"lbEndpoints":[{"address":"0.0.0.0:5"}]}]}}`, "address: 0.0.0.0 is the address of no endpoint"},
		{`{"kind":"Cluster","name":"c","loadAssignment":{"endpoints":[{"lbEndpoints":[{"address":"[::]:5"}]}]}}`, "address: :: is the address of no endpoint"},
		{`{"kind":"Cluster","name":"c","loadAssignment":{"endpoints":[{"lbEndpoints":[{"address":{"port":65536}}]}]}}`, "port 0x10000 is not 16 bits"},
	} {
		if got := rejected(t, fakeStore{}, c.doc); !strings.Contains(got, c.want) {
			t.Errorf("%s: lacks %q", got, c.want)
		}
	}
}

// Limits of the store, one below and at the edge.
func TestClusterLimits(t *testing.T) {
	many := func(n int) string {
		addrs := make([]string, n)
		for i := range addrs {
			addrs[i] = fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255)
		}
		return sotw(typeEndpoint, assignmentOf("c", addrs...))
	}
	s := fakeStore{}
	s.apply(t, sotw(typeCluster, edsCluster("c")), many(maxPick))
	if got := rejected(t, s, many(maxPick+1)); !strings.Contains(got, "endpoints: 16385 endpoints of priority 0 are more than the limit of 16384") {
		t.Error(got)
	}
	groups := func(n int) string {
		items := make([]string, n)
		for i := range items {
			addr := "10.0.0.1:80"
			if i%2 == 1 {
				addr = "[2001:db8::1]:80"
			}
			items[i] = fmt.Sprintf(`{"priority":%d,"lbEndpoints":[{"endpoint":{"address":%s}}]}`, i/2, socketAddress(addr))
		}
		return sotw(typeEndpoint, `"clusterName":"c","endpoints":[`+strings.Join(items, ",")+`]`)
	}
	s.apply(t, groups(maxGroups))
	if got := rejected(t, s, groups(maxGroups+1)); !strings.Contains(got, "129 priorities, counted for each address family, are more than the limit of 128") {
		t.Error(got)
	}
}
