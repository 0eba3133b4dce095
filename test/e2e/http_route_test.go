// SPDX-License-Identifier: Apache-2.0

package e2e

import "testing"

// web is a listener that HTTP services share, as control planes send it.
func web(port string, http obj) obj {
	l := chains("0.0.0.0:"+port, chain(obj{
		"transportProtocol": "raw_buffer", "applicationProtocols": []string{"http/1.1", "h2c"},
	}, http))
	return withDefault(l, toCluster("through"))
}

var webClusters = cds(originalDst("through"), static("a", epA1), static("b", epB1), static("c", epC1), static("six", six1))

// webHosts are virtual hosts by address, by name and for the rest.
func webHosts(name string) obj {
	return routes(name,
		vhost("one", []string{"one.ns.svc.cluster.local", "10.96.0.10"}, always(cluster("a"))),
		vhost("two", []string{"10.96.0.11:80", "two"}, always(obj{
			"weightedClusters": weighted([]share{{"a", 1}, {"b", 3}})})),
		vhost("six", []string{"[fd00:96::10]:80"}, always(cluster("six"))),
		vhost("named", []string{"named.example"}, always(cluster("b"))),
		vhost("rest", []string{"*"}, always(cluster("through"))))
}

func TestVirtualHostIsChosenByAddress(t *testing.T) {
	for _, x := range []struct {
		name string
		docs []doc
	}{
		{"RDS", []doc{webClusters, lds(web("80", toRDS("80")), six("80", toRDS("80"))), rds(webHosts("80"))}},
		{"inline", []doc{webClusters, lds(web("80", toInline(webHosts("80"))), six("80", toInline(webHosts("80"))))}},
	} {
		t.Run(x.name, func(t *testing.T) {
			n, p, c := site(t)
			p.serve("10.96.0.11:80", "10.96.0.12:80")
			n.apply(x.docs...)
			wantReach(t, c, service, epA1)
			wantReach(t, c, service6, six1)
			wantSpread(t, c, "10.96.0.11:80", counts{epA1: 10, epB1: 30})
			wantReach(t, c, "10.96.0.12:80", "10.96.0.12:80")
		})
	}
}

// six is web for IPv6.
func six(port string, http obj) obj {
	return chains("[::]:"+port, chain(nil, http))
}

func TestRouteThatDependsOnTheRequestPassesThroughAndIsNamed(t *testing.T) {
	n, p, c := site(t)
	p.serve("10.96.0.11:80", "10.96.0.12:80")
	byHeader := obj{"name": "by-header", "route": cluster("b"), "match": obj{"prefix": "/",
		"headers": []obj{{"name": "end-user", "stringMatch": obj{"exact": "jason"}}}}}
	byPath := obj{"name": "by-path", "route": cluster("b"), "match": obj{"prefix": "/v2"}}
	r := n.apply(webClusters, lds(web("80", toRDS("web"))), rds(routes("web",
		vhost("one", []string{"10.96.0.10"}, byHeader, always(cluster("a"))),
		vhost("two", []string{"10.96.0.11"}, byPath, always(cluster("a"))),
		vhost("three", []string{"10.96.0.12"}, always(cluster("c")), byPath))))
	wantReach(t, c, service, service)
	wantReach(t, c, "10.96.0.11:80", "10.96.0.11:80")
	wantReach(t, c, "10.96.0.12:80", epC1)
	status := n.want(exitDone, "status")
	for _, route := range []string{"by-header", "by-path"} {
		if !contains(r.out+r.err, route) {
			t.Errorf("%v\napply does not name route %s", r, route)
		}
		if !contains(status.out, route) {
			t.Errorf("%v\nstatus does not name route %s", status, route)
		}
	}
}

func TestRedirectIsNotForConnect(t *testing.T) {
	n, _, c := site(t)
	n.apply(webClusters, lds(web("80", toRDS("web"))), rds(routes("web",
		vhost("one", []string{"10.96.0.10"}, obj{"match": obj{"prefix": "/"}, "redirect": obj{"httpsRedirect": true}}))))
	wantReach(t, c, service, service)
}
