// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"
)

// served is service a with a workload of these at ip1, ip2, ….
func served(service obj, workloads ...obj) doc {
	all := []obj{service}
	for i, w := range workloads {
		base := wpod(fmt.Sprintf("a%d", i+1), fmt.Sprintf("10.2.0.%d", i+1), serves("a", wport(80, 8080)))
		for k, v := range w {
			base[k] = v
		}
		all = append(all, base)
	}
	return wds(all...)
}

func serviceA(members ...any) obj {
	return with(wsvc("a", vips("10.96.0.1"), wport(80, 8080)), members...)
}

// took is counts of connections by the number of the workload, from 1.
func took(n ...int) counts {
	c := counts{}
	for i, v := range n {
		if v > 0 {
			c[at(fmt.Sprintf("10.2.0.%d", i+1), 8080)] = v
		}
	}
	return c
}

func TestWorkloadSharesAreEqualOnEachCPU(t *testing.T) {
	m, c := lane(t)
	m.apply(served(serviceA(), obj{}, obj{}, obj{}))
	wantSpread(t, c, vipA, took(20, 20, 20))
	wantSpread(t, m.enrolled("10.1.0.2").client(1), vipA, took(20, 20, 20))
}

func TestWorkloadUnhealthyTakesNoConnections(t *testing.T) {
	m, c := lane(t)
	sick := obj{"status": "UNHEALTHY"}
	m.apply(served(serviceA(), obj{}, sick, obj{}))
	wantSpread(t, c, vipA, took(10, 0, 10))
	m.apply(served(serviceA(), sick, sick))
	wantReach(t, c, vipA, vipA) // nobody: as asked
	m.apply(served(serviceA("loadBalancing", obj{"healthPolicy": "ALLOW_ALL"}), obj{}, sick, sick))
	wantSpread(t, c, vipA, took(10, 10, 10))
	// Who is sick is still reached by its own address.
	wantReach(t, c, at(ip2, 8080), at(ip2, 8080))
}

func TestWorkloadCapacityIsAnExactShare(t *testing.T) {
	m, c := lane(t)
	m.apply(served(serviceA(), obj{"capacity": 5}, obj{"capacity": 3}, obj{}, obj{"capacity": 0}))
	wantSpread(t, c, vipA, took(50, 30, 10, 0))
	m.apply(served(serviceA(), obj{"capacity": 0}, obj{"capacity": 0}))
	wantReach(t, c, vipA, vipA)
}

func lb(mode string, scopes ...string) []any {
	return []any{"loadBalancing", obj{"mode": mode, "routingPreference": scopes}}
}

func place(region, zone, subzone string) obj {
	return obj{"locality": obj{"region": region, "zone": zone, "subzone": subzone}}
}

// Each case is a node at r1/z1/s1 named n1, whose own cluster and network are those
// of its workload at ip4, and where 60 connections go.
func TestWorkloadRoutingPreference(t *testing.T) {
	near, sameZone := place("r1", "z1", "s1"), place("r1", "z1", "s2")
	sameRegion, far := place("r1", "z2", "s1"), place("r2", "z1", "s1")
	on := func(w obj, members ...any) obj { return with(w, members...) }
	geo := []string{"REGION", "ZONE", "SUBZONE"}
	sick := on(near, "status", "UNHEALTHY")
	for _, x := range []struct {
		name      string
		mode      string
		scopes    []string
		workloads []obj
		want      counts // nil: as asked
	}{
		{"failover takes the subzone", "FAILOVER", geo, []obj{far, sameZone, near}, took(0, 0, 60)},
		{"failover takes the zone", "FAILOVER", geo, []obj{far, sameZone, sameRegion}, took(0, 60, 0)},
		{"failover takes the region", "FAILOVER", geo, []obj{far, far, sameRegion}, took(0, 0, 60)},
		{"failover takes all", "FAILOVER", geo, []obj{far, far}, took(30, 30)},
		{"failover passes the sick by", "FAILOVER", geo, []obj{far, sameZone, sick}, took(0, 60, 0)},
		{"failover shares among the nearest", "FAILOVER", geo, []obj{near, near, sameZone}, took(30, 30, 0)},
		{"strict subzone", "STRICT", geo, []obj{far, sameZone, near}, took(0, 0, 60)},
		{"strict subzone, nobody", "STRICT", geo, []obj{far, sameZone, sameRegion}, nil},
		{"strict zone", "STRICT", geo[:2], []obj{near, sameZone, sameRegion}, took(30, 30, 0)},
		{"strict region", "STRICT", geo[:1], []obj{near, sameRegion, far}, took(30, 30, 0)},
		{"strict region, nobody", "STRICT", geo[:1], []obj{far}, nil},
		{"strict, all sick", "STRICT", geo, []obj{sick, sameZone}, nil},
		{"node", "FAILOVER", []string{"NODE"}, []obj{on(far, "node", "n1"), near}, took(60, 0)},
		{"node, elsewhere only", "FAILOVER", []string{"NODE"}, []obj{on(far, "node", "n2"), near}, took(30, 30)},
		{"strict node, elsewhere only", "STRICT", []string{"NODE"}, []obj{on(near, "node", "n2")}, nil},
		{"cluster", "FAILOVER", []string{"CLUSTER"}, []obj{on(near, "clusterId", "c2"), far}, took(0, 60)},
		{"strict cluster, nobody", "STRICT", []string{"CLUSTER"}, []obj{on(near, "clusterId", "c2")}, nil},
		{"network", "STRICT", []string{"NETWORK"}, []obj{near, far}, took(30, 30)},
		{"network, then region", "FAILOVER", []string{"NETWORK", "REGION", "ZONE"}, []obj{far, sameRegion}, took(0, 60)},
		{"no mode, no preference", "UNSPECIFIED_MODE", nil, []obj{far, near}, took(30, 30)},
	} {
		t.Run(x.name, func(t *testing.T) {
			m, c := lane(t, "--node-name", "n1")
			own := located(wpod("own", clientIP), "r1", "z1", "s1", "n1")
			d := served(serviceA(lb(x.mode, x.scopes...)...), x.workloads...)
			d["resources"] = append(d["resources"].([]obj), addressOf(own))
			m.apply(d)
			if x.want == nil {
				wantReach(t, c, vipA, vipA)
				return
			}
			wantSpread(t, c, vipA, x.want)
		})
	}
}

// Where the node itself is comes from the flag, else from a workload on the node of
// this name, else from the workload at an enrolled pod's address.
func TestWorkloadNodeLocalityHasThreeSources(t *testing.T) {
	strict := serviceA(lb("STRICT", "REGION", "ZONE")...)
	workloads := []obj{place("r1", "z1", ""), place("r1", "z2", ""), place("r2", "z1", "")}
	own := func(region, zone, node string) obj {
		return located(wpod("own", clientIP), region, zone, "", node)
	}
	for _, x := range []struct {
		name  string
		flags []string
		own   obj
		want  counts
	}{
		{"flag", []string{"--locality", "r1/z2"}, own("r1", "z1", "n1"), took(0, 20, 0)},
		{"node name", []string{"--node-name", "n1"}, own("r2", "z1", "n1"), took(0, 0, 20)},
		{"enrolled pod", nil, own("r1", "z1", "elsewhere"), took(20, 0, 0)},
		{"unknown", nil, nil, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			m, c := lane(t, x.flags...)
			d := served(strict, workloads...)
			if x.own != nil {
				d["resources"] = append(d["resources"].([]obj), addressOf(x.own))
			}
			m.apply(d)
			if x.want == nil {
				wantReach(t, c, vipA, vipA)
				return
			}
			wantSpread(t, c, vipA, x.want)
		})
	}
}

// A pod that is enrolled after the configuration came says where the node is, too.
func TestWorkloadNodeLocalityIsLearntFromALaterEnrolment(t *testing.T) {
	m := newMesh(t)
	m.backends()
	p := m.pod(clientIP)
	d := served(serviceA(lb("STRICT", "REGION")...), place("r1", "", ""), place("r2", "", ""))
	d["resources"] = append(d["resources"].([]obj), addressOf(located(wpod("own", clientIP), "r2", "", "", "elsewhere")))
	m.apply(d)
	m.enroll(p)
	wantSpread(t, p.client(0), vipA, took(0, 10))
}

// Workloads of another network are reached through a gateway, which this is not.
func TestWorkloadOfAnotherNetworkIsNoEndpoint(t *testing.T) {
	m, c := lane(t)
	vip := with(netAddress("10.96.0.1"), "network", "one")
	d := served(serviceA("addresses", []obj{vip}), obj{"network": "one"}, obj{"network": "two"})
	d["resources"] = append(d["resources"].([]obj), addressOf(with(wpod("own", clientIP), "network", "one")))
	m.apply(d)
	wantSpread(t, c, vipA, took(10))
}

// Settings of a later up count for what is in the maps already.
func TestWorkloadSettingsOfALaterUp(t *testing.T) {
	m, c := lane(t, "--locality", "r1/z1")
	m.apply(served(serviceA(lb("STRICT", "REGION")...), place("r1", "", ""), place("r2", "", "")))
	wantSpread(t, c, vipA, took(10))
	m.up("--locality", "r2")
	wantSpread(t, c, vipA, took(0, 10))
	m.up("--locality", "r3/z1/s1")
	wantReach(t, c, vipA, vipA)
	m.up()
	wantReach(t, c, vipA, vipA) // nothing says where the node is
	m.apply(wds(serviceA("waypoint", byIP(ip3)), a1()))
	m.up("--waypoint-port", "8080")
	wantReach(t, c, vipA, at(ip3, 8080))
	m.up("--waypoint-port", "9090")
	wantReach(t, c, vipA, at(ip3, 9090))
}
