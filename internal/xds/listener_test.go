// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/listener"
)

// oneListener applies a listener of 10.0.0.1:80 with the given further fields.
func oneListener(t *testing.T, fields string) (*listener.Listener, *Result) {
	t.Helper()
	s := fakeStore{}
	r := s.apply(t, sotw(typeListener, `"name":"l","address":`+socketAddress("10.0.0.1:80")+`,`+fields))
	return s.listener(t, "10.0.0.1:80"), r
}

func TestListenersLeftAlone(t *testing.T) {
	for _, c := range []struct {
		fields string
		want   bool
	}{
		{`"bindToPort":false,"trafficDirection":"OUTBOUND"`, false},
		{`"trafficDirection":"OUTBOUND"`, false},
		{`"bindToPort":true`, false},
		{`"useOriginalDst":true`, true},
		{`"useOriginalDst":false`, false},
		{`"trafficDirection":"INBOUND"`, true},
		{`"filterChainMatcher":{}`, true},
	} {
		l, _ := oneListener(t, c.fields)
		if l.GetPassthrough() != c.want {
			t.Errorf("%s: passthrough %t, want %t", c.fields, l.GetPassthrough(), c.want)
		}
	}
	for _, name := range []string{"virtualInbound", "virtualOutbound"} {
		s := fakeStore{}
		s.apply(t, sotw(typeListener, tcpListener(name, "0.0.0.0:15001", "c")))
		if !s.listener(t, "0.0.0.0:15001").GetPassthrough() {
			t.Errorf("%s is not left alone", name)
		}
	}
}

func TestListenerAddresses(t *testing.T) {
	for _, c := range []struct{ address, more, want, note string }{
		{socketAddress("0.0.0.0:80"), "", "0.0.0.0:80", ""},
		{socketAddress("[::]:80"), "", "[::]:80", ""},
		{`{"socketAddress":{"address":"::","portValue":80,"ipv4Compat":true}}`, "", "0.0.0.0:80 [::]:80", ""},
		{`{"socketAddress":{"protocol":"UDP","address":"10.0.0.1","portValue":53}}`, "", "10.0.0.1:53/udp", ""},
		{socketAddress("10.0.0.1:80"), socketAddress("[2001:db8::1]:80"), "10.0.0.1:80 [2001:db8::1]:80", ""},
		{`{"pipe":{"path":"/run/x"}}`, "", "", "Listener l: address pipe /run/x: no connection is opened to it"},
		{`{"envoyInternalAddress":{"serverListenerName":"x"}}`, socketAddress("10.0.0.1:80"), "10.0.0.1:80", "Listener l: address internal listener x: no connection is opened to it"},
		{socketAddress("host.example:80"), "", "", "Listener l: address host.example:80: no connection is opened to it"},
	} {
		doc := `"name":"l","address":` + c.address
		if c.more != "" {
			doc += `,"additionalAddresses":[{"address":` + c.more + `}]`
		}
		s := fakeStore{}
		r := s.apply(t, sotw(typeListener, doc))
		if got := s.keys(config.Listener); got != c.want {
			t.Errorf("%s: %q, want %q", c.address, got, c.want)
		}
		if c.note == "" {
			wantNone(t, r.Notes)
		} else {
			wantLines(t, r.Notes, c.note)
		}
	}
	s := fakeStore{}
	r := s.apply(t, sotw(typeListener, `"name":"inner","internalListener":{}`, `"name":"api","apiListener":{}`))
	if len(r.Ops) != 0 {
		t.Errorf("operations: %v", r.Ops)
	}
	wantLines(t, r.Notes, "Listener api: API listener: no connection is opened to it", "Listener inner: internal listener: no connection is opened to it")
}

func TestChainMatch(t *testing.T) {
	l, r := oneListener(t, `"filterChains":[{"name":"exact","filterChainMatch":{"destinationPort":80,"prefixRanges":[{"addressPrefix":"10.0.0.0","prefixLen":8}],"transportProtocol":"raw_buffer","applicationProtocols":["h2c"]},"filters":[`+
		tcpFilter("c")+`]},{"filterChainMatch":{},"filters":[`+tcpFilter("d")+`]}],"defaultFilterChain":{"filters":[`+tcpFilter("e")+`]}`)
	m := l.GetFilterChains()[0].GetFilterChainMatch()
	if m.GetDestinationPort() != 80 || m.GetPrefixRanges()[0].GetPrefixLen() != 8 || m.GetTransportProtocol() != "raw_buffer" || m.GetApplicationProtocols()[0] != "h2c" {
		t.Errorf("match: %v", m)
	}
	if l.GetFilterChains()[1].GetFilterChainMatch() != nil {
		t.Errorf("an empty match became %v", l.GetFilterChains()[1].GetFilterChainMatch())
	}
	if got := l.GetDefaultFilterChain().GetFilters()[0].GetTcpProxy().GetCluster(); got != "e" {
		t.Errorf("default chain leads to %q", got)
	}
	wantNone(t, r.Notes)
}

// A chain that asks for what connect does not know must not give way to another one:
// that would be a guess.
func TestChainsByWhatIsUnknown(t *testing.T) {
	for _, c := range []struct{ match, note string }{
		{`"sourcePrefixRanges":[{"addressPrefix":"10.0.0.0","prefixLen":8}]`, "filter chain 1 depends on source_prefix_ranges: connections that it may match pass through"},
		{`"sourceType":"EXTERNAL","sourcePorts":[1]`, "filter chain 1 depends on source_type, source_ports: connections that it may match pass through"},
		{`"directSourcePrefixRanges":[{"addressPrefix":"10.0.0.0"}]`, "filter chain 1 depends on direct_source_prefix_ranges: connections that it may match pass through"},
		{`"addressSuffix":"1"`, "filter chain 1 depends on address_suffix: connections that it may match pass through"},
	} {
		l, r := oneListener(t, `"filterChains":[{"name":"plain","filters":[`+tcpFilter("c")+`]},{"filterChainMatch":{`+c.match+`},"filters":[`+tcpFilter("d")+`]}]`)
		first := l.GetFilterChains()[0]
		if first.GetName() == "plain" || first.GetFilters()[0].GetConfigType() != nil || first.GetFilters()[0].GetName() != "tcp" {
			t.Errorf("%s: first chain %v, want one without a target", c.match, first)
		}
		if got := l.GetFilterChains()[1].GetFilters()[0].GetTcpProxy().GetCluster(); got != "c" {
			t.Errorf("%s: second chain leads to %q", c.match, got)
		}
		wantLines(t, r.Notes, "Listener l: "+c.note)
		wantLines(t, l.GetNotes(), c.note)
	}
}

func TestChainsThatAreNeverChosen(t *testing.T) {
	l, r := oneListener(t, `"filterChains":[{"name":"a","filterChainMatch":{"transportProtocol":"tls"}},{"filterChainMatch":{"serverNames":["x"]}}]`)
	if l.GetFilterChains()[1].GetFilterChainMatch().GetServerNames()[0] != "x" {
		t.Errorf("server names are lost: %v", l)
	}
	wantLines(t, r.Notes,
		"Listener l: filter chain 1 asks for a server name, which is not known at connect: it is never chosen",
		"Listener l: filter chain a asks for transport protocol tls, which is not known at connect: it is never chosen")
}

func TestFilters(t *testing.T) {
	http := func(rest string) string {
		return fmt.Sprintf(`{"name":"h","typedConfig":{"@type":%q,%s}}`, typeHTTP, rest)
	}
	tcp := func(rest string) string {
		return fmt.Sprintf(`{"name":"t","typedConfig":{"@type":%q,"statPrefix":"s",%s}}`, typeTCP, rest)
	}
	named := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"typedConfig":{"@type":"type.googleapis.com/some.Thing","value":{"a":[1]}}}`, name)
	}
	for _, c := range []struct {
		name, filters string
		target        bool
		notes         []string
	}{
		{"cluster", tcp(`"cluster":"c"`), true, nil},
		{"weighted", tcp(`"weightedClusters":{"clusters":[{"name":"a","weight":1},{"name":"b","weight":0}]}`), true, nil},
		{"silent filters", named("istio.metadata_exchange") + "," + named("istio.stats") + "," + tcp(`"cluster":"c"`), true, nil},
		{"filter that may deny", named("envoy.filters.network.rbac") + "," + tcp(`"cluster":"c"`), true, []string{"filter chain 0: filter envoy.filters.network.rbac is not applied"}},
		{"tunnel", tcp(`"cluster":"c","tunnelingConfig":{"hostname":"x"}`), false, []string{"filter chain 0: tcp_proxy tunneling_config: connections pass through"}},
		{"by server name", named("envoy.filters.network.sni_cluster") + "," + tcp(`"cluster":"c"`), false, []string{"filter chain 0: filter envoy.filters.network.sni_cluster depends on the TLS server name: connections pass through"}},
		{"another protocol", named("envoy.filters.network.redis_proxy"), false, []string{"filter chain 0 leads to no cluster: connections pass through", "filter chain 0: filter envoy.filters.network.redis_proxy is not applied"}},
		{"routes by name", http(`"rds":{"routeConfigName":"80"}`), true, nil},
		{"routes inline", http(`"routeConfig":{"name":"r","virtualHosts":[{"name":"v","domains":["*"],"routes":[{"match":{"path":"/a"},"route":{"cluster":"c"}}]}]}`), true,
			[]string{"filter chain 0: virtual host v: first route depends on the request (path /a): connections pass through"}},
		{"routes by scope", http(`"scopedRoutes":{"name":"s","scopeKeyBuilder":{},"scopedRds":{}}`), false, []string{"filter chain 0: scoped_routes depend on the request: connections pass through"}},
		{"HTTP filters", http(`"rds":{"routeConfigName":"80"},"httpFilters":[{"name":"envoy.filters.http.router"},{"name":"envoy.filters.http.rbac"},{"name":"envoy.filters.http.lua","disabled":true}]`), true,
			[]string{"filter chain 0: HTTP filter envoy.filters.http.rbac is not applied"}},
	} {
		l, r := oneListener(t, `"filterChains":[{"filters":[`+c.filters+`]}]`)
		target := false
		for _, f := range l.GetFilterChains()[0].GetFilters() {
			target = target || f.GetConfigType() != nil
		}
		if target != c.target {
			t.Errorf("%s: has a target: %t, want %t", c.name, target, c.target)
		}
		for i := range c.notes {
			c.notes[i] = "Listener l: " + c.notes[i]
		}
		wantLines(t, r.Notes, c.notes...)
	}
}

// What stands in the way of nothing needs no notes.
func TestNoNotesAboutListenersLeftAlone(t *testing.T) {
	_, r := oneListener(t, `"useOriginalDst":true,"filterChains":[{"filterChainMatch":{"transportProtocol":"tls","sourcePorts":[1]}}]`)
	wantNone(t, r.Notes)
}

func TestListenerRejections(t *testing.T) {
	chain := func(rest string) string {
		return sotw(typeListener, `"name":"l","address":`+socketAddress("10.0.0.1:80")+`,"filterChains":[{},{`+rest+`}]`)
	}
	tcp := func(rest string) string {
		return chain(fmt.Sprintf(`"filters":[{"name":"t","typedConfig":{"@type":%q%s}}]`, typeTCP, rest))
	}
	for _, c := range []struct{ doc, want string }{
		{sotw(typeListener, `"address":`+socketAddress("10.0.0.1:80")), "Listener without a name: name: is empty"},
		{sotw(typeListener, `"name":"l"`), "Listener l: address: is missing"},
		{sotw(typeListener, tcpListener("l", "10.0.0.1:0", "c")), "address.socket_address.port_value: port 0 is not 1..65535"},
		{sotw(typeListener, `"name":"l","address":`+socketAddress("10.0.0.1:80")+`,"additionalAddresses":[{"address":`+socketAddress("10.0.0.1:80")+`}]`), "additional_addresses: 10.0.0.1:80 stands there twice"},
		{chain(`"filterChainMatch":{"destinationPort":0}`), "filter_chains[1].filter_chain_match.destination_port: port 0 is not 1..65535"},
		{chain(`"filterChainMatch":{"prefixRanges":[{"addressPrefix":"10.0.0.0","prefixLen":33}]}`), "filter_chains[1].filter_chain_match.prefix_ranges[0].prefix_len: 33 is more than 32"},
		{chain(`"filterChainMatch":{"prefixRanges":[{"addressPrefix":"x"}]}`), `prefix_ranges[0].address_prefix: "x" is not an IP address`},
		{tcp(""), "filter_chains[1].filters[0].typed_config: names no cluster"},
		{tcp(`,"cluster":""`), "filters[0].tcp_proxy.cluster: is empty"},
		{tcp(`,"weightedClusters":{"clusters":[{"name":"a"}]}`), "filters[0].tcp_proxy.weighted_clusters.clusters: no cluster has a weight"},
		{tcp(`,"weightedClusters":{"clusters":[{"name":"a","weight":4294967295},{"name":"b","weight":1}]}`), "weighted_clusters.clusters: the weights are more than 4294967295 together"},
		{tcp(`,"weightedClusters":{"clusters":[{"weight":1}]}`), "weighted_clusters.clusters[0].name: is empty"},
		{`{"kind":"Listener","name":"l","address":"1.2.3.4:5","defaultFilterChain":{"filters":[{"httpConnectionManager":{}}]}}`, "default_filter_chain.filters[0].http_connection_manager: names no routes"},
		{`{"kind":"Listener","name":"l","address":"1.2.3.4:5","filterChains":[{"filterChainMatch":{"destinationPort":65536}}]}`, "filter_chains[0].filter_chain_match.destination_port: 65536 is not 0..65535"},
		{`{"kind":"Listener","name":"l"}`, "Listener l: address: no address"},
	} {
		if got := rejected(t, fakeStore{}, c.doc); !strings.Contains(got, c.want) {
			t.Errorf("%s: lacks %q", got, c.want)
		}
	}
}
