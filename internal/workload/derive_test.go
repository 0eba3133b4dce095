// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

const (
	http  = `ports { service_port: 80 target_port: 8080 } `
	vip   = "10.96.0.1"
	zoned = `locality { region: "r" zone: "z" subzone: "s" } node: "n1" cluster_id: "c" `
)

// What a service's address and port become.
func TestFrontends(t *testing.T) {
	here := nodeSettings{name: "n1", region: "r", zone: "z", subzone: "s"}
	lb := func(mode string, scopes ...string) string {
		s := "load_balancing { mode: " + mode
		for _, scope := range scopes {
			s += " routing_preference: " + scope
		}
		return s + " } "
	}
	places := list(
		pod("a", "10.0.0.1", in("s")+zoned),
		pod("b", "10.0.0.2", in("s")+`locality { region: "r" zone: "z" subzone: "other" } node: "n2" cluster_id: "c"`),
		pod("c", "10.0.0.3", in("s")+`locality { region: "r" zone: "other" subzone: "s" } node: "n3" cluster_id: "other"`),
		pod("d", "10.0.0.4", in("s")+`locality { region: "other" zone: "z" subzone: "s" } node: "n4" cluster_id: "c"`))
	local, farther := places, places[1:]
	const (
		a = "10.0.0.1:8080"
		b = "10.0.0.2:8080"
		c = "10.0.0.3:8080"
		d = "10.0.0.4:8080"
	)
	for _, tc := range []struct {
		name     string
		node     nodeSettings
		messages []proto.Message
		addr     string
		port     uint16
		want     string
	}{
		{"no workload", here, list(svc("s", vip, http)), vip, 80, "-"},
		{"another port", here, list(svc("s", vip, http)), vip, 81, "none"},
		{"service's target port", here, list(svc("s", vip, http), pod("a", "10.0.0.1", in("s"))), vip, 80, "10.0.0.1:8080 1/1"},
		{"workload's own target port", here, list(svc("s", vip, http), pod("a", "10.0.0.1", in("s", 80, 9))), vip, 80, "10.0.0.1:9 1/1"},
		{"workload's port 0 is the service's", here, list(svc("s", vip, http), pod("a", "10.0.0.1", in("s", 80, 0))), vip, 80, "10.0.0.1:8080 1/1"},
		{"named port", here, list(svc("s", vip, "ports { service_port: 80 }"), pod("a", "10.0.0.1", in("s", 80, 1234)),
			pod("b", "10.0.0.2", in("s", 80, 4321)), pod("c", "10.0.0.3", in("s", 81, 9)), pod("d", "10.0.0.4", in("s"))), vip, 80,
			"10.0.0.1:1234 1/2, 10.0.0.2:4321 1/2"},
		{"two ports", here, list(svc("s", vip, http+"ports { service_port: 81 target_port: 8081 }"), pod("a", "10.0.0.1", in("s"))), vip, 81, "10.0.0.1:8081 1/1"},
		{"a port twice", here, list(svc("s", vip, "ports { service_port: 80 }"+http+http), pod("a", "10.0.0.1", in("s"))), vip, 80, "10.0.0.1:8080 1/1"},
		{"unhealthy", here, list(svc("s", vip, http), pod("a", "10.0.0.1", in("s")), pod("b", "10.0.0.2", in("s")+"status: UNHEALTHY")), vip, 80, "10.0.0.1:8080 1/1"},
		{"all unhealthy", here, list(svc("s", vip, http), pod("b", "10.0.0.2", in("s")+"status: UNHEALTHY")), vip, 80, "-"},
		{"ALLOW_ALL", here, list(svc("s", vip, http+"load_balancing { health_policy: ALLOW_ALL }"), pod("a", "10.0.0.1", in("s")),
			pod("b", "10.0.0.2", in("s")+"status: UNHEALTHY")), vip, 80, "10.0.0.1:8080 1/2, 10.0.0.2:8080 1/2"},
		{"capacity", here, list(svc("s", vip, http), pod("a", "10.0.0.1", in("s")+"capacity { value: 3 }"), pod("b", "10.0.0.2", in("s")),
			pod("c", "10.0.0.3", in("s")+"capacity {}")), vip, 80, "10.0.0.1:8080 3/4, 10.0.0.2:8080 1/4"},
		{"same capacity", here, list(svc("s", vip, http), pod("a", "10.0.0.1", in("s")+"capacity { value: 7 }"),
			pod("b", "10.0.0.2", in("s")+"capacity { value: 7 }")), vip, 80, "10.0.0.1:8080 1/2, 10.0.0.2:8080 1/2"},
		{"IPv6 address", here, list(svc("s", vip+" fd96::1", http), pod("a", "10.0.0.1 fd00::1", in("s")), pod("b", "10.0.0.2", in("s"))), "fd96::1", 80, "[fd00::1]:8080 1/1"},
		{"IPv4 address of dual stack", here, list(svc("s", vip+" fd96::1", http), pod("a", "fd00::1 10.0.0.1", in("s")), pod("b", "10.0.0.2", in("s"))), vip, 80,
			"10.0.0.1:8080 1/2, 10.0.0.2:8080 1/2"},
		{"other family only", here, list(svc("s", vip, http), pod("a", "fd00::1", in("s"))), vip, 80, "-"},
		{"mapped is IPv4", here, list(svc("s", "::ffff:10.96.0.1", http), pod("a", "::ffff:10.0.0.1", in("s"))), vip, 80, "10.0.0.1:8080 1/1"},

		{"no mode", here, append(list(svc("s", vip, http+lb("UNSPECIFIED_MODE", "REGION"))), local...), vip, 80,
			strings.Join([]string{a, b, c, d}, " 1/4, ") + " 1/4"},
		{"failover, nearest", here, append(list(svc("s", vip, http+lb("FAILOVER", "REGION", "ZONE", "SUBZONE"))), local...), vip, 80, a + " 1/1"},
		{"failover, zone", here, append(list(svc("s", vip, http+lb("FAILOVER", "REGION", "ZONE", "SUBZONE"))), farther...), vip, 80, b + " 1/1"},
		{"failover, region", here, append(list(svc("s", vip, http+lb("FAILOVER", "REGION", "ZONE", "SUBZONE"))), places[2:]...), vip, 80, c + " 1/1"},
		{"failover, any", here, append(list(svc("s", vip, http+lb("FAILOVER", "REGION", "ZONE", "SUBZONE"))), places[3:]...), vip, 80, d + " 1/1"},
		{"failover, first scope counts first", here, append(list(svc("s", vip, http+lb("FAILOVER", "CLUSTER", "REGION")), pod("x", "10.0.0.9", zoned)), places[2:]...), vip, 80, d + " 1/1"},
		{"strict region", here, append(list(svc("s", vip, http+lb("STRICT", "REGION"))), local...), vip, 80, a + " 1/3, " + b + " 1/3, " + c + " 1/3"},
		{"strict zone", here, append(list(svc("s", vip, http+lb("STRICT", "ZONE"))), local...), vip, 80, a + " 1/2, " + b + " 1/2"},
		{"strict subzone", here, append(list(svc("s", vip, http+lb("STRICT", "SUBZONE"))), local...), vip, 80, a + " 1/1"},
		{"strict node", here, append(list(svc("s", vip, http+lb("STRICT", "NODE"))), local...), vip, 80, a + " 1/1"},
		{"strict node, nobody", here, append(list(svc("s", vip, http+lb("STRICT", "NODE"))), farther...), vip, 80, "-"},
		{"strict cluster", here, append(list(svc("s", vip, http+lb("STRICT", "CLUSTER"))), local...), vip, 80, a + " 1/3, " + b + " 1/3, " + d + " 1/3"},
		{"strict network", here, append(list(svc("s", vip, http+lb("STRICT", "NETWORK"))), local...), vip, 80,
			strings.Join([]string{a, b, c, d}, " 1/4, ") + " 1/4"},
		{"locality by the node's workload", nodeSettings{name: "n3"}, append(list(svc("s", vip, http+lb("STRICT", "ZONE"))), local...), vip, 80, c + " 1/1"},
		{"locality by flag", nodeSettings{name: "n3", region: "r", zone: "z"}, append(list(svc("s", vip, http+lb("STRICT", "ZONE"))), local...), vip, 80, a + " 1/2, " + b + " 1/2"},

		{"another network", here, list(svc("s", vip, http), pod("a", "10.0.0.1", in("s")+zoned), pod("b", "10.0.0.2", in("s")+`network: "far"`)), vip, 80, "10.0.0.1:8080 1/1"},
		{"address of another network", here, list(svc("s", "", http+`addresses { network: "far" address: "\n\x60\x00\x01" }`), pod("a", "10.0.0.1", in("s")+zoned)), vip, 80, "none"},
		{"network unknown", nodeSettings{}, list(svc("s", vip, http), pod("b", "10.0.0.2", in("s")+`network: "far"`)), vip, 80, "10.0.0.2:8080 1/1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := without(tc.node)
			l.apply(t, delta(tc.messages))
			if got := l.frontendText(tc.addr, tc.port); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// Where a waypoint leads.
func TestWaypoints(t *testing.T) {
	const byName = `waypoint { hostname { namespace: "ns" hostname: "w" } } `
	wp := svc("w", "10.96.0.9", "ports { service_port: 15008 target_port: 15008 }")
	s := svc("s", vip, http+byName)
	a := pod("a", "10.0.0.1", in("s"))
	for _, tc := range []struct {
		name     string
		messages []proto.Message
		addr     string
		port     uint16
		want     string
		warning  string
	}{
		{"by hostname", list(s, a, wp, pod("w1", "10.0.0.8", in("w", 15008, 15008)), pod("w2", "10.0.0.9", in("w"))), vip, 80,
			"10.0.0.1:8080 1/1 via 10.0.0.8:15019 1/2, 10.0.0.9:15019 1/2", ""},
		{"unhealthy waypoint", list(s, a, wp, pod("w1", "10.0.0.8", in("w")), pod("w2", "10.0.0.9", in("w")+"status: UNHEALTHY")), vip, 80,
			"10.0.0.1:8080 1/1 via 10.0.0.8:15019 1/1", ""},
		{"no workload: its own address", list(s, a, wp), vip, 80, "10.0.0.1:8080 1/1 via 10.96.0.9:15019 1/1", ""},
		{"unknown", list(s, a), vip, 80, "10.0.0.1:8080 1/1", "service ns/s: waypoint ns/w is not known"},
		{"service without endpoints", list(s, wp), vip, 80, "- via 10.96.0.9:15019 1/1", ""},
		{"by address", list(svc("s", vip, http+`waypoint { address { address: "\n\x00\x00\x63" } }`), a), vip, 80,
			"10.0.0.1:8080 1/1 via 10.0.0.99:15019 1/1", ""},
		{"by a service's address", list(svc("s", vip, http+`waypoint { address { address: "\n\x60\x00\x09" } }`), a, wp, pod("w1", "10.0.0.8", in("w"))), vip, 80,
			"10.0.0.1:8080 1/1 via 10.0.0.8:15019 1/1", ""},
		{"by address of the other family", list(svc("s", "fd96::1", http+`waypoint { address { address: "\n\x00\x00\x63" } }`)), "fd96::1", 80,
			"-", "cannot be reached over IPv6"},
		{"of a workload", list(pod("a", "10.0.0.1", byName), wp, pod("w1", "10.0.0.8", in("w"))), "10.0.0.1", 0, "- via 10.0.0.8:15019 1/1", ""},
		{"of a workload, unknown", list(pod("a", "10.0.0.1", byName)), "10.0.0.1", 0, "none", "workload a: waypoint ns/w is not known"},
		{"workload without one", list(a), "10.0.0.1", 0, "none", ""},
		{"its own", list(svc("w", vip, http+byName), pod("w1", "10.0.0.8", in("w"))), vip, 80, "10.0.0.8:8080 1/1", "is its own waypoint"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := without(nodeSettings{})
			r := l.apply(t, delta(tc.messages))
			if got := l.frontendText(tc.addr, tc.port); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if got := strings.Join(r.Warnings, "\n"); !strings.Contains(got, tc.warning) || tc.warning == "" && got != "" {
				t.Errorf("warnings %q, want %q", got, tc.warning)
			}
		})
	}
}
