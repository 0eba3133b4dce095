// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"
)

func TestRoundRobinIsExactOnEachCPU(t *testing.T) {
	n, p, _ := site(t)
	n.apply(cds(static("a", epA1, epA2, epB1)), lds(listener(service, toCluster("a"))))
	for cpu := range 2 {
		wantSpread(t, p.client(cpu), service, counts{epA1: 20, epA2: 20, epB1: 20})
	}
}

func TestEndpointWeightsAreExact(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(staticOf("a", locality(0, 0, endpoint(epA1, 5), endpoint(epA2, 3), endpoint(epB1, 1)))),
		lds(listener(service, toCluster("a"))))
	wantSpread(t, c, service, counts{epA1: 50, epA2: 30, epB1: 10})
}

func TestLocalityWeightsAreExact(t *testing.T) {
	n, _, c := site(t)
	// Half of 3/4 each, and of the last quarter two parts of three and one.
	n.apply(cds(staticOf("a",
		locality(3, 0, endpoint(epA1, 1), endpoint(epA2, 1)),
		locality(1, 0, endpoint(epB1, 2), endpoint(epB2, 1)))),
		lds(listener(service, toCluster("a"))))
	wantSpread(t, c, service, counts{epA1: 90, epA2: 90, epB1: 40, epB2: 20})
}

func TestUnhealthyEndpointTakesNoConnections(t *testing.T) {
	n, _, c := site(t)
	down := endpoint(epA2, 1)
	down["healthStatus"] = "UNHEALTHY"
	n.apply(cds(staticOf("a", locality(0, 0, endpoint(epA1, 1), down))), lds(listener(service, toCluster("a"))))
	wantSpread(t, c, service, counts{epA1: 20})
}

func TestOnlyTheFirstPriorityIsUsedWhileItIsHealthy(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(staticOf("a", locality(0, 1, endpoint(epB1, 1)), locality(0, 0, endpoint(epA1, 1), endpoint(epA2, 1)),
		locality(0, 2, endpoint(epC1, 1)))), lds(listener(service, toCluster("a"))))
	wantSpread(t, c, service, counts{epA1: 20, epA2: 20})
}

// hold opens n connections to dst and keeps them; close ends all of them.
func (c *client) hold(dst string, n int) (held map[string][]*conn) {
	held = map[string][]*conn{}
	c.do(func() {
		for range n {
			conn, err := open(dst)
			if err != nil {
				c.t.Errorf("connect to %s: %v", dst, err)
				return
			}
			held[conn.peer.String()] = append(held[conn.peer.String()], conn)
		}
	})
	return held
}

func release(conns []*conn) {
	for _, c := range conns {
		c.close()
	}
}

func TestLeastRequestCountsOpenConnections(t *testing.T) {
	n, _, c := site(t)
	l := lds(listener(service, toCluster("a")))
	n.apply(cds(withPolicy(static("a", epA1), "LEAST_REQUEST")), l)
	first := c.hold(service, 20)
	if len(first[epA1]) != 20 {
		t.Fatalf("held %v", first)
	}
	if got := n.active("a"); got[epA1] != 20 {
		t.Errorf("active connections: %v, want 20 of %s", got, epA1)
	}
	// Of two alike, both are always compared: 20 go where there are none.
	n.apply(cds(withPolicy(static("a", epA1, epA2), "LEAST_REQUEST")), l)
	second := c.hold(service, 20)
	if len(second[epA2]) != 20 {
		t.Errorf("beside 20 open connections to %s: %d to it, %d to %s", epA1, len(second[epA1]), len(second[epA2]), epA2)
	}
	// The next are shared alike.
	third := c.hold(service, 40)
	if len(third[epA1]) != 20 || len(third[epA2]) != 20 {
		t.Errorf("with as many open each: %d to %s, %d to %s", len(third[epA1]), epA1, len(third[epA2]), epA2)
	}
	// Those that close are counted down.
	release(first[epA1])
	release(third[epA1])
	if got := n.active("a"); got[epA1] != len(second[epA1]) {
		t.Errorf("active connections after closing: %v", got)
	}
	fourth := c.hold(service, 40)
	if len(fourth[epA1]) != 40 {
		t.Errorf("after its connections closed, %s got %d of 40", epA1, len(fourth[epA1]))
	}
	for _, held := range []map[string][]*conn{second, third, fourth} {
		release(held[epA2])
	}
	release(second[epA1])
	release(fourth[epA1])
	if got := n.active("a"); got[epA1] != 0 || got[epA2] != 0 {
		t.Errorf("active connections after all closed: %v", got)
	}
}

func TestRandomReachesAll(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(withPolicy(staticOf("a", locality(0, 0, endpoint(epA1, 3), endpoint(epB1, 1))), "RANDOM")),
		lds(listener(service, toCluster("a"))))
	got := c.spread(service, 4000)
	// Ten standard deviations of the binomial distribution.
	if got[epA1]+got[epB1] != 4000 || got[epA1] < 2700 || got[epA1] > 3300 {
		t.Errorf("4000 connections at random, 3 to 1: %v", got)
	}
	// In turn, no two in a row would differ from the pattern 3 to 1.
	runs := 0
	for range 200 {
		if c.spread(service, 4)[epA1] != 3 {
			runs++
		}
	}
	if runs == 0 {
		t.Error("200 times 4 connections went 3 to 1: not at random")
	}
}
