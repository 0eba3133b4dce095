// SPDX-License-Identifier: Apache-2.0

package e2e

import "testing"

const (
	service  = "10.96.0.10:80"
	service6 = "[fd00:96::10]:80"
)

// Endpoints, by name of the cluster that they are used in.
const (
	epA1, epA2 = "10.244.1.1:8080", "10.244.1.2:8080"
	epB1, epB2 = "10.244.2.1:8081", "10.244.2.2:8081"
	epC1, epC2 = "10.244.3.1:8082", "10.244.3.2:8082"
	six1, six2 = "[fd00:244::1]:8080", "[fd00:244::2]:8080"
)

// site is what most tests start from: kmesh-node up, an enrolled pod in which
// services and endpoints listen, and a client on the first CPU.
func site(t *testing.T, flags ...string) (*node, *pod, *client) {
	t.Helper()
	n := upNode(t, flags...)
	p := newPod(t)
	p.serve(service, service6, epA1, epA2, epB1, epB2, epC1, epC2, six1, six2)
	n.enroll(p)
	return n, p, p.client(0)
}

func TestServiceAddressLeadsToItsEndpoints(t *testing.T) {
	n, _, c := site(t)
	wantReach(t, c, service, service)
	n.apply(cds(static("a", epA1, epA2), static("six", six1, six2)),
		lds(listener(service, toCluster("a")), listener(service6, toCluster("six"))))
	wantSpread(t, c, service, counts{epA1: 50, epA2: 50})
	wantSpread(t, c, service6, counts{six1: 50, six2: 50})
	for range 2 {
		if got := c.reach(service); got != epA1 && got != epA2 {
			t.Errorf("a connection to %s reached %s", service, got)
		}
		if got := c.reach(service6); got != six1 && got != six2 {
			t.Errorf("a connection to %s reached %s", service6, got)
		}
	}
}

func TestOtherDestinationsAreLeftAlone(t *testing.T) {
	n, p, c := site(t)
	p.serve("10.96.0.10:81", "10.96.0.11:80", "[fd00:96::11]:80")
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	wantReach(t, c, service, epA1)
	for _, other := range []string{"10.96.0.10:81", "10.96.0.11:80", "[fd00:96::11]:80", service6, epB1} {
		wantReach(t, c, other, other)
	}
	if got := c.reach("10.96.0.12:80"); got != "network is unreachable" {
		t.Errorf("a connection to nowhere: %s", got)
	}
}

func TestExactListenerComesBeforeWildcard(t *testing.T) {
	n, p, c := site(t)
	p.serve("10.96.0.11:80", "10.96.0.11:81", "[fd00:96::11]:80")
	n.apply(cds(static("a", epA1), static("b", epB1), static("six", six1)),
		lds(listener(service, toCluster("a")), listener("0.0.0.0:80", toCluster("b")),
			listener("[::]:80", toCluster("six"))))
	wantReach(t, c, service, epA1)
	wantReach(t, c, "10.96.0.11:80", epB1)
	wantReach(t, c, "[fd00:96::11]:80", six1)
	wantReach(t, c, "10.96.0.11:81", "10.96.0.11:81")
}

func TestWildcardIsOfItsOwnFamily(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener("0.0.0.0:80", toCluster("a"))))
	wantReach(t, c, service, epA1)
	wantReach(t, c, service6, service6)
}

func TestWeightedClustersAreExactOnEachCPU(t *testing.T) {
	n, p, _ := site(t)
	n.apply(cds(static("a", epA1, epA2), static("b", epB1), static("c", epC1, epC2)),
		lds(listener(service, toWeighted(share{"a", 7}, share{"b", 2}, share{"c", 1}))))
	for cpu := range 2 {
		c := p.client(cpu)
		for range 3 {
			wantSpread(t, c, service, counts{epA1: 7, epA2: 7, epB1: 4, epC1: 1, epC2: 1})
		}
	}
}

func TestWeightsMayHaveAnySum(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1), static("b", epB1), static("c", epC1)),
		lds(listener(service, toWeighted(share{"a", 333}, share{"b", 667}))))
	wantSpread(t, c, service, counts{epA1: 333, epB1: 667})
	wantSpread(t, c, service, counts{epA1: 333, epB1: 667})

	n.apply(lds(listener(service, toWeighted(share{"a", 1}, share{"b", 1}, share{"c", 1}))))
	wantSpread(t, c, service, counts{epA1: 10, epB1: 10, epC1: 10})

	n.apply(lds(listener(service, toWeighted(share{"a", 100000}, share{"b", 0}, share{"c", 300000}))))
	wantSpread(t, c, service, counts{epA1: 10, epC1: 30})
}

func TestManyWeightedClusters(t *testing.T) {
	n, p, c := site(t)
	var clusters []obj
	var shares []share
	want := counts{}
	var addrs []string
	for i := range 128 {
		addr := portAddr("10.244.9.1", 9000+i)
		addrs = append(addrs, addr)
		clusters = append(clusters, static(addr, addr))
		shares = append(shares, share{addr, 1 + i%2})
		want[addr] = 1 + i%2
	}
	p.serve(addrs...)
	n.apply(cds(clusters...), lds(listener(service, toWeighted(shares...))))
	wantSpread(t, c, service, want)
}

func TestFilterChainIsChosenByTheLongestPrefix(t *testing.T) {
	n, p, c := site(t)
	p.serve("10.1.0.1:7000", "10.1.2.3:7000", "10.1.2.4:7000", "10.2.0.1:7000", "[fd00:1::1]:7000", "[fd00:2::1]:7000")
	match := func(cidrs ...string) obj {
		var ranges []obj
		for _, c := range cidrs {
			ranges = append(ranges, prefix(c))
		}
		return obj{"prefixRanges": ranges}
	}
	n.apply(cds(static("a", epA1), static("b", epB1), static("c", epC1), static("six", six1), static("d", epA2)),
		lds(withDefault(chains("0.0.0.0:7000",
			chain(match("10.1.0.0/16"), toCluster("a")),
			chain(match("192.168.0.0/16", "10.1.2.0/24"), toCluster("b")),
			chain(match("10.1.2.3/32"), toCluster("c"))), toCluster("d")),
			chains("[::]:7000", chain(match("fd00:1::/32"), toCluster("six")))))
	wantReach(t, c, "10.1.0.1:7000", epA1)
	wantReach(t, c, "10.1.2.4:7000", epB1)
	wantReach(t, c, "10.1.2.3:7000", epC1)
	wantReach(t, c, "10.2.0.1:7000", epA2)
	wantReach(t, c, "[fd00:1::1]:7000", six1)
	wantReach(t, c, "[fd00:2::1]:7000", "[fd00:2::1]:7000") // no chain, no default
}

func TestFilterChainIsChosenByPortAndProtocol(t *testing.T) {
	n, _, c := site(t)
	all := cds(static("a", epA1), static("b", epB1), static("c", epC1))
	for _, x := range []struct {
		name string
		l    obj
		want string
	}{
		{"another port never matches", withDefault(chains(service,
			chain(obj{"destinationPort": 81}, toCluster("a"))), toCluster("b")), epB1},
		{"a port comes before none", chains(service,
			chain(nil, toCluster("a")),
			chain(obj{"destinationPort": 80}, toCluster("b"))), epB1},
		{"a port comes before a prefix", chains(service,
			chain(obj{"prefixRanges": []obj{prefix("10.96.0.10/32")}}, toCluster("a")),
			chain(obj{"destinationPort": 80}, toCluster("b"))), epB1},
		{"raw_buffer comes before none", chains(service,
			chain(nil, toCluster("a")),
			chain(obj{"transportProtocol": "raw_buffer"}, toCluster("b"))), epB1},
		{"tls never matches", chains(service,
			chain(obj{"transportProtocol": "tls"}, toCluster("a")),
			chain(nil, toCluster("c"))), epC1},
		{"no chain matches: left alone", chains(service,
			chain(obj{"transportProtocol": "tls"}, toCluster("a"))), service},
		{"a server name is not known", withDefault(chains(service,
			chain(obj{"serverNames": []string{"x.example"}}, toCluster("a"))), toCluster("c")), epC1},
	} {
		t.Run(x.name, func(t *testing.T) {
			n.in(t).apply(all, lds(x.l))
			wantReach(t, c, service, x.want)
		})
	}
}
