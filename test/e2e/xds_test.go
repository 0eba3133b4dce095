// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
)

// obj is a JSON object; doc one response of a control plane.
type (
	obj map[string]any
	doc obj
)

const typePrefix = "type.googleapis.com/envoy.config."

func response(kind string, resources []obj) doc {
	url := typePrefix + kind
	for _, r := range resources {
		r["@type"] = url
	}
	return doc{"versionInfo": "1", "nonce": "n", "typeUrl": url, "resources": resources}
}

// cds and lds are complete: what they do not name goes away.
func cds(clusters ...obj) doc  { return response("cluster.v3.Cluster", clusters) }
func lds(listeners ...obj) doc { return response("listener.v3.Listener", listeners) }
func eds(assignments ...obj) doc {
	return response("endpoint.v3.ClusterLoadAssignment", assignments)
}
func rds(routes ...obj) doc { return response("route.v3.RouteConfiguration", routes) }

func address(s string) obj {
	a := netip.MustParseAddrPort(s)
	return obj{"socketAddress": obj{"address": a.Addr().String(), "portValue": a.Port()}}
}

// edsCluster gets its endpoints by cla.
func edsCluster(name string) obj {
	return obj{"name": name, "type": "EDS", "edsClusterConfig": obj{"edsConfig": obj{"ads": obj{}}}}
}

// static is a cluster with these endpoints, all alike.
func static(name string, addrs ...string) obj {
	eps := make([]obj, len(addrs))
	for i, a := range addrs {
		eps[i] = endpoint(a, 1)
	}
	return staticOf(name, locality(0, 0, eps...))
}

func staticOf(name string, localities ...obj) obj {
	return obj{"name": name, "type": "STATIC", "loadAssignment": cla(name, localities...)}
}

func withPolicy(cluster obj, policy string) obj {
	cluster["lbPolicy"] = policy
	return cluster
}

func originalDst(name string) obj {
	return obj{"name": name, "type": "ORIGINAL_DST", "lbPolicy": "CLUSTER_PROVIDED"}
}

func cla(name string, localities ...obj) obj {
	return obj{"clusterName": name, "endpoints": localities}
}

// localities tells locality to make each another one.
var localities int

// locality has a weight where that is not 0.
func locality(weight, priority int, endpoints ...obj) obj {
	localities++
	l := obj{"locality": obj{"region": fmt.Sprintf("region%d", localities)}, "lbEndpoints": endpoints}
	if weight > 0 {
		l["loadBalancingWeight"] = weight
	}
	if priority > 0 {
		l["priority"] = priority
	}
	return l
}

func endpoint(addr string, weight int) obj {
	return obj{"endpoint": obj{"address": address(addr)}, "loadBalancingWeight": weight}
}

// listener is named as control planes do and has one chain without a match.
func listener(addr string, filter obj) obj {
	return chains(addr, chain(nil, filter))
}

func chains(addr string, cs ...obj) obj {
	a := netip.MustParseAddrPort(addr)
	return obj{
		"name": fmt.Sprintf("%s_%d", a.Addr(), a.Port()), "address": address(addr),
		"bindToPort": false, "trafficDirection": "OUTBOUND", "filterChains": cs,
	}
}

func withDefault(listener, filter obj) obj {
	listener["defaultFilterChain"] = chain(nil, filter)
	return listener
}

func chain(match obj, filter obj) obj {
	c := obj{"filters": []obj{filter}}
	if match != nil {
		c["filterChainMatch"] = match
	}
	return c
}

// prefix is one of a filter chain match's prefixRanges.
func prefix(cidr string) obj {
	p := netip.MustParsePrefix(cidr)
	return obj{"addressPrefix": p.Addr().String(), "prefixLen": p.Bits()}
}

func filter(kind, name string, config obj) obj {
	config["@type"] = "type.googleapis.com/envoy.extensions.filters.network." + kind
	config["statPrefix"] = "test"
	return obj{"name": "envoy.filters.network." + name, "typedConfig": config}
}

func tcpProxy(config obj) obj { return filter("tcp_proxy.v3.TcpProxy", "tcp_proxy", config) }

// toCluster is a tcp_proxy to one cluster.
func toCluster(name string) obj { return tcpProxy(obj{"cluster": name}) }

// share is one cluster of a weighted choice.
type share struct {
	cluster string
	weight  int
}

func weighted(shares []share) obj {
	list := make([]obj, len(shares))
	for i, s := range shares {
		list[i] = obj{"name": s.cluster, "weight": s.weight}
	}
	return obj{"clusters": list}
}

func toWeighted(shares ...share) obj {
	return tcpProxy(obj{"weightedClusters": weighted(shares)})
}

func http(config obj) obj {
	return filter("http_connection_manager.v3.HttpConnectionManager", "http_connection_manager", config)
}

func toRDS(name string) obj {
	return http(obj{"rds": obj{"routeConfigName": name, "configSource": obj{"ads": obj{}}}})
}

func toInline(config obj) obj { return http(obj{"routeConfig": config}) }

func routes(name string, hosts ...obj) obj { return obj{"name": name, "virtualHosts": hosts} }

func vhost(name string, domains []string, routes ...obj) obj {
	return obj{"name": name, "domains": domains, "routes": routes}
}

// always is a route that does not depend on the request.
func always(action obj) obj { return obj{"match": obj{"prefix": "/"}, "route": action} }

func cluster(name string) obj { return obj{"cluster": name} }
