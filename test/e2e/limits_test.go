// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// crowd gives the pod the whole of 10.245.0.0/16 and listens at port 9000 of each
// of its addresses; at other ports they refuse.
func crowd(t *testing.T, n int, port func(i int) int) (p *pod, addrs []string) {
	t.Helper()
	p = newPod(t)
	run(t, "", "ip", "-n", p.name, "route", "add", "local", "10.245.0.0/16", "dev", "lo")
	p.serveFast("0.0.0.0:9000")
	for i := range n {
		addrs = append(addrs, portAddr(fmt.Sprintf("10.245.%d.%d", i/256, i%256), port(i)))
	}
	return p, addrs
}

func TestClusterOf4096Endpoints(t *testing.T) {
	n := upNode(t)
	p, addrs := crowd(t, 4096, func(int) int { return 9000 })
	n.enroll(p)
	n.apply(cds(static("a", addrs...)), lds(listener(service, toCluster("a"))))
	want := counts{}
	for _, a := range addrs {
		want[a] = 1
	}
	wantSpread(t, p.client(0), service, want)
}

// ailing is a cluster in which the good'th of n endpoints alone does not refuse.
func ailing(t *testing.T, n, good int) (c *client, addrs []string) {
	t.Helper()
	h := upNode(t, append(forLong, "--outlier-failures", "1")...)
	p, addrs := crowd(t, n, func(i int) int {
		if i == good {
			return 9000
		}
		return 9001
	})
	p.serve(service)
	h.enroll(p)
	h.apply(cds(static("a", addrs...)), lds(listener(service, toCluster("a"))))
	c = p.client(0)
	wantSpread(t, c, service, counts{refusal: n - 1, addrs[good]: 1})
	return c, addrs
}

func TestTheOneHealthyEndpointOfManyIsFound(t *testing.T) {
	for _, good := range []int{0, 250, 499} {
		c, addrs := ailing(t, 500, good)
		wantSpread(t, c, service, counts{addrs[good]: 1000})
	}
}

// The search for a healthy endpoint is bounded. Beyond that an endpoint is taken
// that was ejected; the connection is not left to an address that nobody serves.
func TestSearchThatIsGivenUpEndsAtAnEndpoint(t *testing.T) {
	const all, good = 4096, 4000
	c, addrs := ailing(t, all, good)
	got := c.spread(service, all)
	if got[refusal]+got[addrs[good]] != all || got[addrs[good]] < 100 {
		t.Errorf("%d connections:%v", all, got)
	}
}

func TestLongNamesAreNotCut(t *testing.T) {
	n, _, c := site(t)
	long := strings.Repeat("n", 511)
	n.apply(cds(static(long+"1", epA1), static(long+"2", epB1)),
		lds(listener(service, toCluster(long+"2")), listener(service6, toCluster(long+"3"))))
	wantReach(t, c, service, epB1)
	wantReach(t, c, service6, service6)
	n.want(exitDone, "delete", "cluster", long+"1")
	wantReach(t, c, service, epB1)
}

func TestListenerOf64Chains(t *testing.T) {
	n, p, c := site(t)
	var clusters, list []obj
	var addrs []string
	for i := range 64 {
		addr := portAddr("10.244.9.1", 9000+i)
		addrs = append(addrs, addr)
		clusters = append(clusters, static(addr, addr))
		list = append(list, chain(obj{"prefixRanges": []obj{prefix(fmt.Sprintf("10.50.%d.0/24", i))}}, toCluster(addr)))
	}
	p.serve(addrs...)
	n.apply(cds(clusters...), lds(chains("0.0.0.0:7000", list...)))
	for _, i := range []int{0, 1, 31, 62, 63} {
		wantReach(t, c, fmt.Sprintf("10.50.%d.77:7000", i), addrs[i])
	}
}

func TestBeyondALimitNothingIsCut(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	var addrs []string
	for i := range 40_000 {
		addrs = append(addrs, portAddr(fmt.Sprintf("10.245.%d.%d", i/256, i%256), 80))
	}
	r := n.run("apply", "-f", n.write(cds(static("a", epB1), static("crowded", addrs...))))
	if r.code == exitDone || !contains(r.err, "crowded") {
		t.Errorf("%v\nwant the cluster refused by name", r)
	}
	long := strings.Repeat("n", 2000)
	r = n.run("apply", "-f", n.write(cds(static("a", epB1), static(long, epB1))))
	if r.code == exitDone || !contains(r.err, "1024") {
		t.Errorf("%v\nwant the name refused with its limit", r)
	}
	wantReach(t, c, service, epA1)
}

func TestManyClustersAndListeners(t *testing.T) {
	const clusters, listeners = 16384, 8192
	n := upNode(t)
	p, addrs := crowd(t, clusters, func(int) int { return 9000 })
	n.enroll(p)
	var cs, ls []obj
	at := func(i int) string { return portAddr(fmt.Sprintf("10.100.%d.%d", i/250, i%250+1), 80) }
	for i := range clusters {
		cs = append(cs, static(fmt.Sprint("cluster-", i), addrs[i]))
	}
	for i := range listeners {
		ls = append(ls, listener(at(i), toCluster(fmt.Sprint("cluster-", 2*i+1))))
	}
	n.apply(cds(cs...), lds(ls...))
	if s := n.store(); s.Clusters.Used != clusters || s.Listeners.Used != listeners {
		t.Errorf("status shows %d clusters and %d listeners", s.Clusters.Used, s.Listeners.Used)
	}
	c := p.client(0)
	for _, i := range []int{0, 1, 4095, 4096, 8191} {
		wantSpread(t, c, at(i), counts{addrs[2*i+1]: 3})
	}
}
