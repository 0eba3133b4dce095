// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"
)

// See TestKernel.
func TestKernelWorkloadMode(t *testing.T) {
	m := &mesh{newNodeOf(t, "workload"), newFabric(t)}
	m.backends()
	pod, server, stranger := m.pod(clientIP, clientIP6), m.pod(serverIP, serverIP6), m.pod("10.1.0.8", "fd00:1::8")
	server.serve(at(serverIP, 7000), at(serverIP6, 7000))
	c, sc := pod.client(0), stranger.client(0)
	told := m.pod().record(at(wp1, plainPort))
	told6 := m.pod().record(at(wp1v6, plainPort))
	host, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	up := func(t *testing.T, flags ...string) {
		t.Helper()
		m.node.in(t).up(append([]string{"--control-address", "on"}, flags...)...)
	}
	resources := func(of ...any) doc {
		return wds(serviceA(of...), a1(), with(wsvc("s", vips("fd00:96::1"), wport(80, 8080)), of...),
			wpod("s1", ip1v6, serves("s", wport(80, 8080))), wpod("p", serverIP), wpod("p6", serverIP6))
	}
	rows{
		{"up", func(t *testing.T) {
			up(t)
			note(t, "sendmsg is held by = %s", m.node.in(t).heldBy("sendmsg"))
		}},
		{"enrolment", func(t *testing.T) {
			m.node.in(t).manage(pod)
			m.node.in(t).manage(server)
		}},
		{"redirect of IPv4 and IPv6 to the target port", func(t *testing.T) {
			m.in(t).apply(resources())
			reaches(t, c, map[string]string{vipA: at(ip1, 8080), vipA6: at(ip1v6, 8080)})
			wantReach(t, sc, vipA, vipA)
		}},
		{"a waypoint reads the destination first", func(t *testing.T) {
			m.in(t).apply(resources("waypoint", byIP(wp1)))
			wantTold(t, c, vipA, told, append(metadata(vipA), "hello"...), say("hello"))
			m.in(t).apply(resources("waypoint", byIP(wp1v6)))
			wantTold(t, c, vipA6, told6, append(metadata(vipA6), "hello"...), say("hello"))
			m.in(t).apply(resources())
		}},
		{"a denied connection is refused, an allowed one is not", func(t *testing.T) {
			needsCookies(t)
			m.in(t).apply(policies(policy("closed", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{7000}))))
			for _, to := range []string{at(serverIP, 7000), at(serverIP6, 7000)} {
				if !denied(sc, to) {
					t.Errorf("a denied connection to %s was let in", to)
				}
			}
		}},
		{"a connection that stands is reset by a new policy", func(t *testing.T) {
			needsCookies(t)
			standing := call(t, stranger, server, at(serverIP, 7001))
			standing.wantAlive("of another port")
			own := call(t, server, stranger, at("10.1.0.8", 7004))
			m.in(t).apply(denyAll())
			own.wantAlive("the pod's own")
			standing.wantReset("denied")
		}},
		{"events", func(t *testing.T) {
			f := m.in(t).follow()
			f.awake(func() { c.reach(vipA) })
			wantReach(t, c, vipA, at(ip1, 8080))
			f.want("opened", at(ip1, 8080), hostOf("a"))
			f.want("closed", at(ip1, 8080), hostOf("a"))
			f.stop()
		}},
		{"programs and maps are exchanged under traffic", func(t *testing.T) {
			all := during(c, vipA, func() { up(t, "--flow-entries", "4096", "--policy-slots", "8192"); up(t) })
			wantOnly(t, all, at(ip1, 8080))
			if tellsCookies(t) && !denied(sc, at(serverIP, 7000)) {
				t.Error("after that a denied connection was let in")
			}
		}},
		{"a process that is killed leaves the data plane at work", func(t *testing.T) {
			daemon := m.node.in(t).background("run", "--control-address", "on")
			if err := eventually(func() error { return wantUp(m.node.in(t)) }); err != nil {
				t.Fatal(err)
			}
			if err := daemon.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := daemon.Wait(); err == nil {
				t.Error("a killed kmesh-node ended well")
			}
			wantReach(t, c, vipA, at(ip1, 8080))
			up(t)
			wantReach(t, c, vipA6, at(ip1v6, 8080))
		}},
		{"down leaves nothing", func(t *testing.T) {
			m.node.in(t).want(exitDone, "down")
			wantReach(t, c, vipA, vipA)
			if denied(sc, at(serverIP, 7000)) {
				t.Error("a connection was denied")
			}
			if err := host.unchanged(); err != nil {
				t.Error(err)
			}
		}},
	}.run(t)
}
