// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"
)

// The waypoint of most tests: a service with two workloads, which listen where
// connections with metadata are taken.
const (
	wpVIP, wpVIP6 = "10.96.0.50", "fd00:96::50"
	wp1, wp2      = "10.4.0.1", "10.4.0.2"
	wp1v6         = "fd00:4::1"
	plainPort     = 15019
)

// waypoint is the service and its workloads.
func waypoint() []obj {
	p := wport(15008, 15008)
	return []obj{wsvc("wp", vips(wpVIP, wpVIP6), p),
		wpod("wp1", wp1, serves("wp", p)), wpod("wp2", wp2, serves("wp", p)), wpod("wp1v6", wp1v6, serves("wp", p))}
}

// ford is a lane with pods that listen as the waypoint does.
func ford(t *testing.T, flags ...string) (*mesh, *client) {
	t.Helper()
	m, c := lane(t, flags...)
	m.pod().serve(at(wp1, plainPort), at(wp2, plainPort), at(wp1v6, plainPort))
	return m, c
}

var viaA = counts{at(wp1, plainPort): 10, at(wp2, plainPort): 10}

func a1(members ...any) obj { return with(wpod("a1", ip1, serves("a", wport(80, 8080))), members...) }

func TestWaypointOfAServiceByHostname(t *testing.T) {
	m, c := ford(t)
	vip := vips("10.96.0.1", "fd00:96::1")
	m.apply(wds(append(waypoint(), with(wsvc("a", vip, wport(80, 8080)), "waypoint", byHost("wp")), a1())...))
	wantSpread(t, c, vipA, viaA)
	wantSpread(t, c, vipA6, counts{at(wp1v6, plainPort): 10})
	wantReach(t, c, "[::ffff:10.96.0.1]:80", at(wp1, plainPort))
	wantReach(t, c, at(ip1, 8080), at(ip1, 8080)) // its workload has none
}

func TestWaypointOfAServiceByItsServicesAddress(t *testing.T) {
	m, c := ford(t)
	m.apply(wds(append(waypoint(), serviceA("waypoint", byIP(wpVIP)), a1())...))
	wantSpread(t, c, vipA, viaA)
}

func TestWaypointOfAServiceByAddress(t *testing.T) {
	m, c := ford(t)
	m.apply(wds(serviceA("waypoint", byIP(wp2)), a1()))
	wantSpread(t, c, vipA, counts{at(wp2, plainPort): 10})
}

func TestWaypointOfAWorkload(t *testing.T) {
	m, c := ford(t)
	for name, way := range map[string]obj{"hostname": byHost("wp"), "address": byIP(wp1)} {
		t.Run(name, func(t *testing.T) {
			m.in(t).apply(wds(append(waypoint(), serviceA(), a1("waypoint", way))...))
			want := viaA
			if name == "address" {
				want = counts{at(wp1, plainPort): 20}
			}
			wantSpread(t, c, at(ip1, 8080), want)
			wantSpread(t, c, at(ip1, 9090), want) // any port of it
			// The service has no waypoint: its connections go to the workload.
			wantReach(t, c, vipA, at(ip1, 8080))
		})
	}
}

func TestWaypointPortIsAFlag(t *testing.T) {
	m, c := lane(t, "--waypoint-port", "9090")
	m.apply(wds(serviceA("waypoint", byIP(ip3)), a1()))
	wantReach(t, c, vipA, at(ip3, 9090))
}

// The waypoint's service says where it is when none of its workloads is known, and
// a waypoint of which nothing is known is none.
func TestWaypointWithoutWorkloads(t *testing.T) {
	m, c := ford(t)
	m.pod().serve(at(wpVIP, plainPort))
	m.apply(wds(waypoint()[0], serviceA("waypoint", byHost("wp")), a1()))
	wantReach(t, c, vipA, at(wpVIP, plainPort))
	r := m.apply(wds(serviceA("waypoint", byHost("nowhere")), a1()))
	if said := r.out + r.err; !contains(said, keyOf("a")) || !contains(said, "nowhere") {
		t.Errorf("%v\ndoes not name the service and its unknown waypoint", r)
	}
	wantReach(t, c, vipA, at(ip1, 8080))
	// It comes later.
	m.apply(wdelta(nil, with(waypoint()[0], "hostname", hostOf("nowhere"), "name", "nowhere")))
	wantReach(t, c, vipA, at(wpVIP, plainPort))
}

// What a waypoint itself opens goes to the service, else it would come back to it.
func TestWaypointsOwnConnectionsDoNotLoop(t *testing.T) {
	m := newMesh(t)
	m.backends()
	self := m.pod(wp1, wp1v6)
	self.serve(at(wp1, plainPort), at(wp1v6, plainPort))
	config := wds(append(waypoint(), with(wsvc("a", vips("10.96.0.1", "fd00:96::1"), wport(80, 8080)), "waypoint", byHost("wp")),
		a1("waypoint", byHost("wp")), wpod("a6", ip1v6, serves("a", wport(80, 8080))))...)
	direct := map[string]string{vipA: at(ip1, 8080), vipA6: at(ip1v6, 8080), at(ip1, 9090): at(ip1, 9090)}

	m.enroll(self) // before it is known as a waypoint
	m.apply(config)
	c := self.client(0)
	reaches(t, c, direct)
	m.apply(wds(serviceA("waypoint", byIP(wp1)), a1()))
	wantReach(t, c, vipA, at(ip1, 8080))
	m.apply(wds(serviceA("waypoint", byIP(wp2)), a1())) // it is none any more
	m.pod().serve(at(wp2, plainPort))
	wantReach(t, c, vipA, at(wp2, plainPort))

	m.apply(config)
	reaches(t, c, direct)
	m.want(exitDone, "unenroll", "--netns", self.path)
	m.enroll(self) // after
	reaches(t, c, direct)
	m.up("--flow-entries", "4096") // and by another `up`
	reaches(t, c, direct)
}
