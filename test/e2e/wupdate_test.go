// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"testing"

	"golang.org/x/sys/unix"
)

// lot is how many connections updates must not disturb.
const lot = 30_000

// highway is a mesh whose pods take very many connections, its writer and its client.
func highway(t *testing.T) (*mesh, *pusher, *client) {
	t.Helper()
	m := newMesh(t)
	p := m.pod()
	p.serveFast(vipA, vipA6, vipB, at(wp1, plainPort), at(wp2, plainPort))
	for _, port := range []int{8080, 9090} {
		p.serveFast(at(ip1, port), at(ip2, port), at(ip3, port), at(ip4, port), at(ip1v6, port), at(ip2v6, port))
	}
	c := m.enrolled(clientIP, clientIP6).client(0)
	return m, m.workloadPusher(), c
}

// aOf is service a with these workloads, all at one target port.
func aOf(port int, ips ...string) doc {
	all := []obj{serviceA("addresses", []obj{netAddress("10.96.0.1"), netAddress("fd00:96::1")})}
	for _, ip := range ips {
		all = append(all, wpod("a-"+ip, ip, serves("a", wport(80, port))))
	}
	return wds(all...)
}

func (m *mesh) underTraffic(w *pusher, c *client, to string, files ...string) counts {
	m.t.Helper()
	var got counts
	n := w.loopWhile(func() { got = c.spread(to, lot) }, files...)
	m.t.Logf("%d publications beside %d connections", n, lot)
	if n < 20 {
		m.t.Errorf("only %d publications beside %d connections", n, lot)
	}
	return got
}

func TestWorkloadNoConnectMissesWhileTheSameContentComes(t *testing.T) {
	m, w, c := highway(t)
	same := m.batch(aOf(8080, ip1, ip2))
	wantOnly(t, m.underTraffic(w, c, vipA, same), at(ip1, 8080), at(ip2, 8080))
}

// Whoever sees parts of two sets reaches an address at the other's port.
func TestWorkloadNoConnectSeesPartsOfTwoSets(t *testing.T) {
	six := []string{ip1v6, ip2v6, "fd00:2::3", "fd00:2::4"}
	for to, ips := range map[string][]string{vipA: {ip1, ip2, ip3, ip4}, vipA6: six} {
		t.Run(to, func(t *testing.T) {
			m, w, c := highway(t)
			if to == vipA6 {
				m.pod().serveFast(at(six[2], 9090), at(six[3], 9090))
			}
			one, other := m.batch(aOf(8080, ips[0], ips[1])), m.batch(aOf(9090, ips[2], ips[3]))
			wantOnly(t, m.underTraffic(w, c, to, one, other),
				at(ips[0], 8080), at(ips[1], 8080), at(ips[2], 9090), at(ips[3], 9090))
		})
	}
}

func TestWorkloadSetsThatGrowAndShrink(t *testing.T) {
	m, w, c := highway(t)
	got := m.underTraffic(w, c, vipA, m.batch(aOf(8080, ip1)), m.batch(aOf(8080, ip1, ip2, ip3)), m.batch(aOf(8080, ip2)))
	wantOnly(t, got, at(ip1, 8080), at(ip2, 8080), at(ip3, 8080))
}

// A service that goes and comes takes its endpoints with it: as asked, or there.
func TestWorkloadServiceGoesAndComesUnderTraffic(t *testing.T) {
	m, w, c := highway(t)
	all := m.batch(aOf(8080, ip1))
	service, pod := m.batch(wdelta([]string{keyOf("a")})), m.batch(wdelta([]string{uid("a-" + ip1)}))
	wantOnly(t, m.underTraffic(w, c, vipA, all, service, all, pod), at(ip1, 8080), vipA)
}

func TestWorkloadWaypointGoesAndComesUnderTraffic(t *testing.T) {
	m, w, c := highway(t)
	plain := m.batch(wds(append(waypoint()[:3], serviceA(), a1())...))
	via := m.batch(wds(append(waypoint()[:3], serviceA("waypoint", byHost("wp")), a1())...))
	wantOnly(t, m.underTraffic(w, c, vipA, plain, via), at(ip1, 8080), at(wp1, plainPort), at(wp2, plainPort))
}

func TestWorkloadStaleConfigurationIsNeverUsed(t *testing.T) {
	m, w, c := highway(t)
	steps := []struct{ file, want string }{
		{m.batch(aOf(8080, ip1)), at(ip1, 8080)},
		{m.batch(aOf(9090, ip2)), at(ip2, 9090)},
		{m.batch(wdelta([]string{keyOf("a")})), vipA},
		{m.batch(aOf(8080, ip3)), at(ip3, 8080)},
		{m.batch(wdelta([]string{uid("a-" + ip3)})), vipA},
		{m.batch(wdelta(nil, wpod("late", ip4, serves("a", wport(80, 9090))))), at(ip4, 9090)},
	}
	for i := range 300 {
		s := steps[i%len(steps)]
		w.publish(s.file)
		if got := c.spread(vipA, 3); !maps.Equal(got, counts{s.want: 3}) {
			t.Fatalf("after update %d, connections went%v, want %s", i, got, s.want)
		}
	}
}

// Who is allowed by every one of the policies that follow each other is never denied,
// and who is denied by each is never let in.
func TestWorkloadPoliciesChangeUnderTraffic(t *testing.T) {
	m, w, _ := highway(t)
	p := m.enrolled(serverIP)
	p.serveFast(at(serverIP, 7001), at(serverIP, 7002))
	c := m.pod("10.1.0.9").client(0)
	m.apply(wds(wpod("p", serverIP), wpod("c", "10.1.0.9")))
	one := m.batch(policies(policy("p", "NAMESPACE", "ALLOW", onlyWhen("destinationPorts", []int{7001}))))
	other := m.batch(policies(policy("q", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{7002, 7003}))))
	third := m.batch(policies(policy("q", "NAMESPACE", "DENY", onlyWhen("notDestinationPorts", []int{7001})), policy("p", "NAMESPACE", "ALLOW", onlyWhen("principals", present()))))
	var allowed, denied counts
	n := w.loopWhile(func() {
		allowed = c.spread(at(serverIP, 7001), lot/3)
		denied = c.spread(at(serverIP, 7002), lot/3)
	}, one, other, third)
	t.Logf("%d publications", n)
	wantOnly(t, allowed, at(serverIP, 7001))
	wantOnly(t, denied, unix.ECONNREFUSED.Error())
}

func TestWorkloadTwoWritersAtOnceLoseNothing(t *testing.T) {
	m, w, c := highway(t)
	other := m.workloadPusher()
	var got counts
	b := func(port int) string {
		return m.batch(wdelta(nil, wsvc("b", vips("10.96.0.2"), wport(80, port)), wpod("b1", ip4, serves("b", wport(80, port)))))
	}
	a := func(ip string) string {
		return m.batch(wdelta(nil, serviceA(), with(wpod("a1", ip, serves("a", wport(80, 8080))))))
	}
	n := w.loopWhile(func() {
		also := other.loopWhile(func() { got = c.spread(vipA, lot) }, b(8080), b(9090))
		t.Logf("%d publications of the other writer", also)
		if also == 0 {
			t.Error("the other writer published nothing")
		}
	}, a(ip1), a(ip2))
	t.Logf("%d publications", n)
	wantOnly(t, got, at(ip1, 8080), at(ip2, 8080))
	wantSpread(t, c, vipA, counts{at(ip1, 8080): 4})
	wantSpread(t, c, vipB, counts{at(ip4, 8080): 4})
	m.wantNames("services", "name", keyOf("a"), keyOf("b"))
}

func TestWorkloadKilledWriterLeavesWholeConfiguration(t *testing.T) {
	m, w, c := highway(t)
	one, other := m.batch(aOf(8080, ip1, ip2)), m.batch(aOf(9090, ip3, ip4))
	for range 8 {
		w.publish(one)
		w.say("loop", one, other)
		got := c.spread(vipA, 1000)
		w.kill()
		for to, k := range c.spread(vipA, 1000) {
			got[to] += k
		}
		for to := range got {
			switch to {
			case at(ip1, 8080), at(ip2, 8080), at(ip3, 9090), at(ip4, 9090):
			default:
				t.Errorf("connections went%v", got)
			}
		}
		w = m.workloadPusher()
	}
	w.publish(one)
	wantSpread(t, c, vipA, counts{at(ip1, 8080): 10, at(ip2, 8080): 10})
	m.up() // repairs, where there is anything
	wantSpread(t, c, vipA, counts{at(ip1, 8080): 10, at(ip2, 8080): 10})
}

func TestWorkloadApplyUnderTraffic(t *testing.T) {
	m, _, c := highway(t)
	one, other := m.write(aOf(8080, ip1)), m.write(aOf(9090, ip2))
	m.want(exitDone, "apply", "-f", one)
	got := make(chan counts)
	go func() { got <- c.spread(vipA, lot) }()
	for applied := 0; ; applied++ {
		select {
		case all := <-got:
			t.Logf("%d times apply beside %d connections", applied, lot)
			if applied < 2 {
				t.Errorf("only %d times apply beside %d connections", applied, lot)
			}
			wantOnly(t, all, at(ip1, 8080), at(ip2, 9090))
			return
		default:
			m.want(exitDone, "apply", "-f", []string{other, one}[applied%2])
		}
	}
}

// used are the entries of the maps, by name.
func (m *mesh) used() map[string]int {
	m.t.Helper()
	var status struct {
		Usage struct {
			Maps []struct {
				Map     string
				Entries int
			}
		}
	}
	m.query(&status, "status")
	used := map[string]int{}
	for _, u := range status.Usage.Maps {
		used[u.Map] = u.Entries
	}
	if used["km_res"] == 0 {
		m.t.Errorf("status does not say how full the maps are: %v", used)
	}
	return used
}

func TestWorkloadUpdatesLeaveNothingBehind(t *testing.T) {
	m, w, c := highway(t)
	one := m.batch(aOf(8080, ip1, ip2), denyAll())
	other := m.batch(wds(append(waypoint(), wsvc("b", vips("10.96.0.2", "fd00:96::2"), wport(80, 9090)),
		wpod("b1", ip3, serves("b", wport(80, 9090))), wpod("x", "10.9.9.9"))...), policies())
	gone := m.batch(wdelta([]string{keyOf("a"), uid("a-" + ip1)}), policyDelta([]string{"istio-system/deny-all"}))
	for _, file := range []string{one, other, gone, one} {
		w.publish(file)
	}
	before := m.used()
	w.loopWhile(func() { c.spread(vipA, lot/3) }, one, other, gone)
	w.publish(one)
	w.publish(one)
	if after := m.used(); !maps.Equal(before, after) {
		t.Errorf("entries before and after many updates:\n%v\n%v", before, after)
	}
	w.stop()
	m.apply(wds(), policies())
	m.apply(wds(wpod("x", "10.9.9.9")))
	for name, n := range m.used() {
		if n > 8 {
			t.Errorf("%d entries of %s with one workload", n, name)
		}
	}
}
