// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"
)

func vips(list ...string) []string { return list }

func TestWorkloadServiceGoesToItsEndpointsAtTheTargetPort(t *testing.T) {
	m, c := lane(t)
	reaches(t, c, map[string]string{vipA: vipA, vipB: vipB}) // nothing is configured
	m.apply(wds(wsvc("a", vips("10.96.0.1"), wport(80, 8080)), wsvc("b", vips("10.96.0.2"), wport(80, 9090)),
		wpod("a1", ip1, serves("a", wport(80, 8080))), wpod("a2", ip2, serves("a", wport(80, 8080))),
		wpod("b1", ip3, serves("b", wport(80, 9090)))))
	wantSpread(t, c, vipA, counts{at(ip1, 8080): 20, at(ip2, 8080): 20})
	wantSpread(t, c, vipB, counts{at(ip3, 9090): 10})
	m.apply(wds())
	reaches(t, c, map[string]string{vipA: vipA, vipB: vipB})
}

// The service does not say the number of a named port: each workload does.
func TestWorkloadNamedPortIsTheWorkloadsOwn(t *testing.T) {
	m, c := lane(t)
	m.apply(wds(wsvc("a", vips("10.96.0.1"), wport(80, 0)),
		wpod("a1", ip1, serves("a", wport(80, 8080))), wpod("a2", ip2, serves("a", wport(80, 9090))),
		wpod("a3", ip3, serves("a"))))
	wantSpread(t, c, vipA, counts{at(ip1, 8080): 10, at(ip2, 9090): 10})
	// The service's own target port is for those that say nothing of theirs.
	m.apply(wdelta(nil, wsvc("a", vips("10.96.0.1"), wport(80, 9090))))
	wantSpread(t, c, vipA, counts{at(ip1, 8080): 10, at(ip2, 9090): 10, at(ip3, 9090): 10})
}

func TestWorkloadServiceHasAnyNumberOfPorts(t *testing.T) {
	m := newMesh(t)
	server := m.pod()
	c := m.enrolled(clientIP).client(0)
	const n = 40
	var all []obj
	for i := range n {
		all = append(all, wport(1000+i, 2000+i))
		server.serve(at(ip1, 2000+i), at(ip2, 2000+i))
	}
	m.apply(wds(wsvc("a", vips("10.96.0.1"), all...), wpod("a1", ip1, serves("a", all...)), wpod("a2", ip2, serves("a", all...))))
	for i := range n {
		wantSpread(t, c, at("10.96.0.1", 1000+i), counts{at(ip1, 2000+i): 2, at(ip2, 2000+i): 2})
	}
}

func TestWorkloadServesAnyNumberOfServices(t *testing.T) {
	m, c := lane(t)
	const n = 40
	var all []obj
	var member []member
	for i := range n {
		name := fmt.Sprintf("s%d", i)
		all = append(all, wsvc(name, vips(fmt.Sprintf("10.97.0.%d", i+1)), wport(80, 8080)))
		member = append(member, serves(name, wport(80, 8080)))
	}
	m.apply(wds(append(all, wpod("a1", ip1, member...))...))
	for i := range n {
		wantReach(t, c, at(fmt.Sprintf("10.97.0.%d", i+1), 80), at(ip1, 8080))
	}
}

func TestWorkloadServiceHasAnyNumberOfEndpoints(t *testing.T) {
	m := newMesh(t)
	server := m.pod()
	c := m.enrolled(clientIP).client(0)
	const n = 150
	all := []obj{wsvc("a", vips("10.96.0.1"), wport(80, 8080))}
	want := counts{}
	var listen []string
	for i := range n {
		ip := fmt.Sprintf("10.5.%d.1", i)
		all = append(all, wpod(fmt.Sprintf("a%d", i), ip, serves("a", wport(80, 8080))))
		listen = append(listen, at(ip, 8080))
		want[at(ip, 8080)] = 2
	}
	server.serve(listen...)
	m.apply(wds(all...))
	wantSpread(t, c, vipA, want)
}

func TestWorkloadFamiliesAreKeptApart(t *testing.T) {
	m, c := lane(t)
	both := vips("10.96.0.1", "fd00:96::1")
	dual := with(wpod("a1", ip1, serves("a", wport(80, 8080))), "addresses", [][]byte{ipBytes(ip1), ipBytes(ip1v6)})
	m.apply(wds(with(wsvc("a", both, wport(80, 8080)), "ipFamilies", "DUAL"), dual,
		wpod("a2", ip2, serves("a", wport(80, 8080))), wpod("a6", ip2v6, serves("a", wport(80, 8080)))))
	wantSpread(t, c, vipA, counts{at(ip1, 8080): 10, at(ip2, 8080): 10})
	wantSpread(t, c, vipA6, counts{at(ip1v6, 8080): 10, at(ip2v6, 8080): 10})
	wantReach(t, c, "[::ffff:10.96.0.1]:80", at(ip1, 8080)) // IPv4 that an IPv6 socket asks for
	// No endpoint of the family: as asked.
	m.apply(wds(wsvc("a", both, wport(80, 8080)), wpod("a2", ip2, serves("a", wport(80, 8080)))))
	reaches(t, c, map[string]string{vipA: at(ip2, 8080), vipA6: vipA6})
	m.apply(wds(wsvc("a", both, wport(80, 8080)), wpod("a6", ip2v6, serves("a", wport(80, 8080)))))
	reaches(t, c, map[string]string{vipA: vipA, vipA6: at(ip2v6, 8080)})
}

func TestWorkloadsOwnAddressGoesStraightThere(t *testing.T) {
	m, c := lane(t)
	m.apply(wds(wsvc("a", vips("10.96.0.1"), wport(80, 8080)), wpod("a1", ip1, serves("a", wport(80, 8080))),
		wpod("a2", ip2, serves("a", wport(80, 8080))), wpod("a6", ip1v6)))
	for _, to := range []string{at(ip1, 8080), at(ip1, 9090), at(ip2, 9090), at(ip1v6, 8080)} {
		wantReach(t, c, to, to)
	}
}

func TestWorkloadPortThatIsNoServicesIsLeftAlone(t *testing.T) {
	m, c := lane(t)
	m.apply(wds(wsvc("a", vips("10.96.0.1"), wport(81, 8080)), wpod("a1", ip1, serves("a", wport(81, 8080)))))
	wantReach(t, c, vipA, vipA)
	wantReach(t, c, at("10.96.0.1", 81), at(ip1, 8080))
}

func TestWorkloadUDPIsUntouched(t *testing.T) {
	m, c := lane(t)
	p := m.pod()
	p.addresses(at("10.98.0.1", 0), at("fd00:98::1", 0))
	p.serveUDP("10.98.0.1:80")
	p.serveUDP("[fd00:98::1]:80")
	m.apply(wds(wsvc("a", vips("10.98.0.1", "fd00:98::1"), wport(80, 8080)),
		wpod("a1", ip1, serves("a", wport(80, 8080))), wpod("a6", ip1v6, serves("a", wport(80, 8080)))))
	reaches(t, c, map[string]string{"10.98.0.1:80": at(ip1, 8080), "[fd00:98::1]:80": at(ip1v6, 8080)})
	for _, to := range []string{"10.98.0.1:80", "[fd00:98::1]:80"} {
		var got string
		c.do(func() { got = askUDP(to) })
		if got != to {
			t.Errorf("a datagram to %s reached %s", to, got)
		}
	}
}

func TestWorkloadOnlyEnrolledPodsAreTouched(t *testing.T) {
	m, c := lane(t)
	m.apply(wds(wsvc("a", vips("10.96.0.1"), wport(80, 8080)), wpod("a1", ip1, serves("a", wport(80, 8080)))))
	wantReach(t, c, vipA, at(ip1, 8080))
	wantReach(t, m.pod("10.1.0.9").client(0), vipA, vipA)
}
