// SPDX-License-Identifier: Apache-2.0

package e2e

import "testing"

const (
	six3, six4 = "[fd00:244::3]:8080", "[fd00:244::4]:8081"
	six5       = "[fd00:244::5]:8082"
)

// siteSix is a site with more IPv6 endpoints and a listener for each rule.
func siteSix(t *testing.T, flags ...string) (*node, *client) {
	t.Helper()
	n, p, c := site(t, flags...)
	p.serve(six3, six4, six5)
	p.addresses(bad6)
	return n, c
}

func TestIPv6WeightsAreExact(t *testing.T) {
	n, c := siteSix(t)
	n.apply(cds(static("a", six1, six2), static("b", epA1, six3), static("c", six4)),
		lds(listener(service6, toWeighted(share{"a", 7}, share{"b", 2}, share{"c", 1}))))
	wantSpread(t, c, service6, counts{six1: 14, six2: 14, six3: 8, six4: 4})

	n.apply(cds(staticOf("a", locality(3, 0, endpoint(six1, 1), endpoint(six2, 1)),
		locality(1, 0, endpoint(six3, 2), endpoint(six4, 1)))), lds(listener(service6, toCluster("a"))))
	wantSpread(t, c, service6, counts{six1: 90, six2: 90, six3: 40, six4: 20})
}

func TestIPv6RoutesByAddress(t *testing.T) {
	n, c := siteSix(t)
	n.apply(cds(static("a", six1), static("b", six2)),
		lds(six("80", toRDS("r"))),
		rds(routes("r",
			vhost("one", []string{"fd00:96::10"}, always(obj{"weightedClusters": weighted([]share{{"a", 1}, {"b", 3}})})),
			vhost("rest", []string{"*"}, always(cluster("a"))))))
	wantSpread(t, c, service6, counts{six1: 10, six2: 30})
}

func TestIPv6PrioritiesFailOver(t *testing.T) {
	n, c := siteSix(t, append(forLong, "--outlier-failures", "2")...)
	n.apply(cds(staticOf("a", locality(0, 0, endpoint(bad6, 1), endpoint(epA1, 1)),
		locality(0, 1, endpoint(six3, 1), endpoint(six4, 1)), locality(0, 2, endpoint(six5, 1)))),
		lds(listener(service6, toCluster("a"))))
	wantSpread(t, c, service6, counts{refusal: 2, six3: 20, six4: 20})
}

func TestIPv6LeastRequestCountsOpenConnections(t *testing.T) {
	n, c := siteSix(t)
	l := lds(listener(service6, toCluster("a")))
	n.apply(cds(withPolicy(static("a", six1), "LEAST_REQUEST")), l)
	first := c.hold(service6, 10)
	n.apply(cds(withPolicy(static("a", six1, six2), "LEAST_REQUEST")), l)
	second := c.hold(service6, 10)
	if len(first[six1]) != 10 || len(second[six2]) != 10 {
		t.Errorf("beside %d open connections to %s: %d to it, %d to %s",
			len(first[six1]), six1, len(second[six1]), len(second[six2]), six2)
	}
	release(first[six1])
	release(second[six2])
	release(second[six1])
	if got := n.active("a"); got[six1] != 0 || got[six2] != 0 {
		t.Errorf("active connections after all closed: %v", got)
	}
}
