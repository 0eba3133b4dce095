// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"strings"
	"testing"
)

// oneVirtualHost applies a route configuration r with one virtual host v.
func oneVirtualHost(t *testing.T, fields string) (fakeStore, *Result) {
	t.Helper()
	s := fakeStore{}
	return s, s.apply(t, sotw(typeRoute, `"name":"r","virtualHosts":[{"name":"v",`+fields+`}]`))
}

func TestFirstRoute(t *testing.T) {
	const all = `{"match":{"prefix":"/"},"route":{"cluster":"c"}}`
	for _, c := range []struct{ name, domains, routes, note string }{
		{"applied", `"10.0.0.1"`, all, ""},
		{"empty prefix", `"*"`, `{"match":{"prefix":""},"route":{"cluster":"c"}}`, ""},
		{"weighted", `"*"`, `{"match":{"prefix":"/"},"route":{"weightedClusters":{"clusters":[{"name":"a","weight":1},{"name":"b","weight":0}]}}}`, ""},
		{"conditions come later", `"*"`, all + `,{"match":{"path":"/x"},"route":{"cluster":"d"}}`, ""},
		{"only names", `"a.example","b.example:80"`, `{"match":{"path":"/x"},"route":{"cluster":"c"}}`, ""},
		{"prefix", `"10.0.0.1"`, `{"match":{"prefix":"/v2"},"route":{"cluster":"c"}},` + all, "first route depends on the request (prefix /v2): connections pass through"},
		{"port in the domain", `"10.0.0.1:80"`, `{"name":"n","match":{"path":"/x"},"route":{"cluster":"c"}}`, "first route n depends on the request (path /x): connections pass through"},
		{"IPv6", `"[2001:db8::1]:80"`, `{"match":{"safeRegex":{"regex":"a+"}},"route":{"cluster":"c"}}`, "first route depends on the request (regex a+): connections pass through"},
		{"IPv6 alone", `"2001:db8::1"`, `{"match":{"pathSeparatedPrefix":"/a"},"route":{"cluster":"c"}}`, "first route depends on the request (path prefix /a): connections pass through"},
		{"header", `"*"`, `{"match":{"prefix":"/","headers":[{"name":"a","exactMatch":"x"},{"name":"b","presentMatch":true}]},"route":{"cluster":"c"}}`, "first route depends on the request (header a, header b): connections pass through"},
		{"inverted header", `"*"`, `{"match":{"prefix":"/","headers":[{"name":"a","stringMatch":{"prefix":"x"},"invertMatch":true}]},"route":{"cluster":"c"}}`, "(header a)"},
		{"query and cookie", `"*"`, `{"match":{"prefix":"/","queryParameters":[{"name":"q"}],"cookies":[{"name":"k"}]},"route":{"cluster":"c"}}`, "(query parameter q, cookie k)"},
		{"gRPC, TLS, metadata, state, fraction", `"*"`, `{"match":{"prefix":"/","grpc":{},"tlsContext":{},"dynamicMetadata":[{"filter":"f"}],"filterState":[{"key":"k"}],"runtimeFraction":{"runtimeKey":"rk"}},"route":{"cluster":"c"}}`,
			"(gRPC, TLS context, dynamic metadata, filter state, fraction of requests rk)"},
		{"CONNECT", `"*"`, `{"match":{"connectMatcher":{}},"route":{"cluster":"c"}}`, "(method CONNECT)"},
		{"redirect", `"*"`, `{"match":{"prefix":"/"},"redirect":{}}`, "first route names no cluster (redirect): connections pass through"},
		{"direct response", `"*"`, `{"match":{"prefix":"/"},"directResponse":{"status":502}}`, "first route names no cluster (direct response 502): connections pass through"},
		{"cluster by header", `"*"`, `{"match":{"prefix":"/"},"route":{"clusterHeader":"h"}}`, "first route names no cluster (cluster by header h): connections pass through"},
		{"weights by header", `"*"`, `{"match":{"prefix":"/"},"route":{"weightedClusters":{"clusters":[{"clusterHeader":"h","weight":1}]}}}`, "first route names no cluster (weighted clusters by header): connections pass through"},
		{"rewrite", `"*"`, `{"match":{"prefix":"/"},"route":{"cluster":"c","prefixRewrite":"/x","hostRewriteLiteral":"h"}}`, "first route is applied without prefix_rewrite, host_rewrite, since the request is not touched"},
		{"nothing", `"*"`, ``, "virtual host v has no routes: connections pass through"},
	} {
		s, r := oneVirtualHost(t, `"domains":[`+c.domains+`],"routes":[`+c.routes+`]`)
		if c.note == "" {
			wantNone(t, r.Notes)
			wantNone(t, s.route(t, "r").GetNotes())
			continue
		}
		if len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "RouteConfiguration r: virtual host v") || !strings.Contains(r.Notes[0], c.note) {
			t.Errorf("%s: %q, want %q", c.name, r.Notes, c.note)
		}
		if len(s.route(t, "r").GetNotes()) != 1 {
			t.Errorf("%s: the message has the notes %q", c.name, s.route(t, "r").GetNotes())
		}
	}
}

func TestVirtualHostsThatAsk(t *testing.T) {
	const route = `"domains":["*"],"routes":[{"match":{"prefix":"/"},"route":{"cluster":"c"}}]`
	s, r := oneVirtualHost(t, route+`,"requireTls":"ALL"`)
	wantOne(t, r.Notes, "first route depends on the request (require_tls)")
	if s.route(t, "r").GetVirtualHosts()[0].GetRoutes()[0].GetMatch().GetCondition() != "require_tls" {
		t.Error("the store would apply the route")
	}
	_, r = oneVirtualHost(t, `"domains":["*"],"matcher":{}`)
	wantOne(t, r.Notes, "its routes are chosen by a matcher: connections pass through")
	s = fakeStore{}
	r = s.apply(t, sotw(typeRoute, `"name":"r","vhds":{"configSource":{"ads":{}}},"vhostHeader":"h"`))
	wantOne(t, r.Notes, "vhds: ")
	wantOne(t, r.Notes, "vhost_header h: ")
}

func TestRouteFields(t *testing.T) {
	s, _ := oneVirtualHost(t, `"domains":["a"],"routes":[{"name":"n","match":{"prefix":"/p","caseSensitive":false,"headers":[{"name":"x","stringMatch":{"prefix":"y"}},{"name":"i","stringMatch":{"exact":"z","ignoreCase":true}}]},
		"route":{"cluster":"c","timeout":"1.5s","prefixRewrite":"/q","retryPolicy":{}}}]`)
	got := s.route(t, "r").GetVirtualHosts()[0].GetRoutes()[0]
	m, a := got.GetMatch(), got.GetRoute()
	if got.GetName() != "n" || m.GetPrefix() != "/p" || m.GetCaseSensitive() || m.GetHeaders()[0].GetPrefixMatch() != "y" || m.GetCondition() != "header i" {
		t.Errorf("match: %v", got)
	}
	if a.GetCluster() != "c" || a.GetTimeout() != 2 || a.GetPrefixRewrite() != "/q" || a.GetRetryPolicy().GetNumRetries() != 1 {
		t.Errorf("action: %v", a)
	}
}

func TestRouteRejections(t *testing.T) {
	routes := func(rest string) string {
		return sotw(typeRoute, `"name":"r","virtualHosts":[{"name":"v","domains":["a"],"routes":[`+rest+`]}]`)
	}
	for _, c := range []struct{ doc, want string }{
		{sotw(typeRoute, `"virtualHosts":[]`), "RouteConfiguration without a name: name: is empty"},
		{routes(`{}`), "RouteConfiguration r: virtual_hosts[0].routes[0].match: is missing"},
		{routes(`{"match":{"prefix":"/"},"route":{}}`), "routes[0].route: names no cluster"},
		{routes(`{"match":{"prefix":"/"},"route":{"cluster":""}}`), "routes[0].route.cluster: is empty"},
		{routes(`{"match":{"prefix":"/"},"route":{"weightedClusters":{"clusters":[{"name":"a"}]}}}`), "route.weighted_clusters.clusters[0].weight: is missing"},
		{routes(`{"match":{"prefix":"/"},"route":{"weightedClusters":{"clusters":[{"name":"a","weight":0}]}}}`), "weighted_clusters.clusters: no cluster has a weight"},
		{routes(`{"match":{"prefix":"/"},"route":{"cluster":"c","timeout":"-1s"}}`), "route.timeout: -1s is negative"},
		{sotw(typeRoute, `"name":"r","virtualHosts":[{"name":"v","domains":["a","b"]},{"name":"w","domains":["B"]}]`), "virtual_hosts[1].domains[0]: b stands in virtual host v as well"},
		{sotw(typeRoute, `"name":"r","virtualHosts":[{"name":"v","domains":[""]}]`), "domains[0]: is empty"},
	} {
		if got := rejected(t, fakeStore{}, c.doc); !strings.Contains(got, c.want) {
			t.Errorf("%s: lacks %q", got, c.want)
		}
	}
}
