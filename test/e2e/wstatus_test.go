// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// counted returns one of status's counters of what should be rare.
func (m *mesh) counted(name string) int {
	m.t.Helper()
	var status any
	m.query(&status, "status")
	var find func(v any) (float64, bool)
	find = func(v any) (float64, bool) {
		o, ok := v.(map[string]any)
		if !ok {
			return 0, false
		}
		if n, ok := o[name].(float64); ok {
			return n, true
		}
		for _, x := range o {
			if n, ok := find(x); ok {
				return n, true
			}
		}
		return 0, false
	}
	n, ok := find(status)
	if !ok {
		m.t.Fatalf("status has no counter %s: %v", name, status)
	}
	return int(n)
}

// A protocol in which the server speaks first cannot carry metadata: that is seen
// when the client closes without a word.
func TestSilentConnectionsToWaypointsAreCounted(t *testing.T) {
	m, c := ford(t)
	m.apply(wds(serviceA("waypoint", byIP(wp1)), a1()))
	c.do(func() { // one that is not: the client writes too
		conn, err := open(vipA)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.close()
		if _, err := conn.read(); err != nil {
			t.Error(err)
		}
		if err := writeAll(conn.fd, []byte("x")); err != nil {
			t.Error(err)
		}
	})
	if got := m.counted("silent"); got != 0 {
		t.Errorf("%d silent connections after one that was not", got)
	}
	wantReach(t, c, vipA, at(wp1, plainPort)) // reads, and never writes
	if err := eventually(func() error {
		if got := m.counted("silent"); got != 1 {
			return fmt.Errorf("%d silent connections, want 1", got)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestExemptTrafficIsCounted(t *testing.T) {
	m := newMesh(t)
	m.enrolled(serverIP).serve(at(serverIP, 7000))
	m.apply(wds(wpod("p", serverIP)), denyAll())
	before := m.counted("exempted")
	if err := (probe{m.net.node.client(0), at(serverIP, 7000)}).try(); err != nil {
		t.Fatal(err)
	}
	if after := m.counted("exempted"); after != before+1 {
		t.Errorf("exempted: %d, then %d", before, after)
	}
}

func TestWorkloadStatusShowsEveryPinByItsID(t *testing.T) {
	m := newMesh(t)
	m.enrolled(clientIP)
	type object struct {
		Name string
		ID   int
	}
	var status struct {
		Mode                  string
		Programs, Links, Maps []object
		Problems              []string
	}
	m.query(&status, "status")
	shown := map[string]string{}
	for kind, list := range map[string][]object{"prog": status.Programs, "link": status.Links, "map": status.Maps} {
		for _, o := range list {
			shown["kmesh_node/workload/"+kind+"/"+o.Name] = fmt.Sprintf("%s %d", kind, o.ID)
		}
	}
	pins := m.pinIDs()
	delete(pins, "kmesh_node/workload/meta")
	if !maps.Equal(shown, pins) {
		t.Errorf("status shows\n%v, pinned are\n%v", shown, pins)
	}
	if status.Mode != "workload" || len(status.Problems) > 0 {
		t.Errorf("mode %q, problems %q", status.Mode, status.Problems)
	}
}

func TestCheckVerifiesTheProgramsOfWorkloadMode(t *testing.T) {
	n := newNodeOf(t, "workload")
	r := n.want(exitDone, "check", "--verify")
	for _, program := range []string{"sockconn4", "sockconn6", "sock_ops", "sendmsg", "metadata", "xdpauth"} {
		if !contains(r.out, program) {
			t.Errorf("%v\ndoes not show %s", r, program)
		}
	}
}

func TestWorkloadIsTheDefaultMode(t *testing.T) {
	n := newNodeOf(t, "")
	n.up()
	n.wantOneMode("workload")
	var status struct{ Mode string }
	n.query(&status, "status")
	if status.Mode != "workload" {
		t.Errorf("status says mode %q", status.Mode)
	}
	n.want(exitDone, "--mode", "ads", "up")
	n.wantOneMode("ads")
	n.query(&status, "status") // the mode that is up
	if status.Mode != "ads" {
		t.Errorf("status says mode %q", status.Mode)
	}
	n.want(exitDone, "down")
	if left := n.pins(); len(left) > 0 {
		t.Errorf("pins after down: %v", left)
	}
}

func TestFlagsAndKindsOfTheOtherMode(t *testing.T) {
	n := newNodeOf(t, "workload")
	refused(t, exitNotUp, n.run("get", "services"), "up")
	refused(t, exitNotUp, n.run("apply", "-f", n.write(wds())), "up")
	refused(t, exitUsage, n.run("up", "--connect-ret", "off"), "--connect-ret")
	refused(t, exitUsage, n.run("up", "--flow-entries", "1000"), "--flow-entries")
	refused(t, exitUsage, n.run("up", "--policy-slots", "100"), "--policy-slots")
	refused(t, exitUsage, n.run("up", "--node-traffic", "perhaps"), "--node-traffic")
	refused(t, exitUsage, n.run("up", "--xdp-mode", "fast"), "--xdp-mode")
	refused(t, exitUsage, n.run("up", "--waypoint-port", "70000"), "--waypoint-port")
	refused(t, exitUsage, n.run("up", "--locality", "a/b/c/d"), "--locality")
	if left := n.pins(); len(left) > 0 {
		t.Fatalf("pins: %v", left)
	}
	n.up()
	refused(t, exitUsage, n.run("get", "clusters"), "--mode")
	refused(t, exitRejected, n.run("apply", "-f", n.write(cds(static("a", epA1)))), "--mode ads")
	ads := upNode(t)
	refused(t, exitUsage, ads.run("get", "services"), "--mode")
	refused(t, exitRejected, ads.run("apply", "-f", ads.write(wds(serviceA()))), "--mode workload")
	refused(t, exitUsage, ads.run("up", "--xdp-mode", "native"), "--xdp-mode")
}

// More policies than the image has room for are refused, with the remedy.
func TestWorkloadPoliciesThatDoNotFitAreRefused(t *testing.T) {
	m := newMesh(t)
	p := m.enrolled(serverIP)
	p.serve(at(serverIP, 7000))
	m.apply(wds(wpod("p", serverIP)), denyAll())
	var many []obj
	for i := range 3000 { // each has an interval of its own in two tables
		many = append(many, policy(fmt.Sprintf("n%d", i), "NAMESPACE", "DENY", onlyWhen(
			"sourceIps", cidrs(fmt.Sprintf("172.%d.%d.0/25", 16+i/256, i%256)),
			"destinationIps", cidrs(fmt.Sprintf("173.%d.%d.0/25", 16+i/256, i%256)))))
	}
	file := m.write(policies(many...))
	refused(t, exitRejected, m.run("apply", "-f", file), "--policy-slots")
	if !denied(m.pod(clientIP).client(0), at(serverIP, 7000)) {
		t.Error("a denied connection was let in")
	}
	m.up("--policy-slots", "65536")
	m.want(exitDone, "apply", "-f", file)
	if err := (probe{m.pod("10.1.0.2").client(0), at(serverIP, 7000)}).try(); err != nil && err != unix.ECONNREFUSED {
		t.Error(err)
	}
}

// wantOneMode asks that nothing is pinned of any other mode.
func (n *node) wantOneMode(mode string) {
	n.t.Helper()
	for _, pin := range n.pins() {
		if parts := strings.Split(pin, "/"); len(parts) > 1 && parts[0] == "kmesh_node" && parts[1] != mode {
			n.t.Errorf("pinned in mode %s: %s", mode, pin)
		}
	}
}
