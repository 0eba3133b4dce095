// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

func TestWorkloadUpgradeAndDowngradeBringMapsOver(t *testing.T) {
	j := newJudged(t)
	next := j.build("next")
	kinds := []string{"workloads", "services", "policies"}
	j.wantWhole("before")
	raise(t, filepath.Join(j.bpf, "kmesh_node/workload/map/km_wstats"), 64)
	for i, b := range []*mesh{next, j.mesh, next, j.mesh} {
		from := &mesh{b.other(next.node, j.node), j.net}
		config, told, counted := from.configuration(kinds[:2]...), from.denials(t), from.counted("reread")
		before := j.pinIDs()
		r := b.want(exitDone, "up")
		after := j.pinIDs()
		wantOther(t, before, after, workloadMigrated...)
		if !strings.Contains(r.err, "up: updated") {
			t.Errorf("%v", r)
		}
		if got := b.configuration(kinds[:2]...); got != config {
			t.Errorf("round %d: the configuration was\n%s\nand is\n%s", i, config, got)
		}
		if got := b.denials(t); !maps.Equal(got, told) {
			t.Errorf("round %d: denials %v, were %v", i, got, told)
		}
		if got := b.counted("reread"); got < counted || counted < 1000 {
			t.Errorf("round %d: %d read again, were %d", i, got, counted)
		}
		now := &judged{b, j.c, j.server, j.stranger, j.config}
		now.wantWhole("after an upgrade")
		if got := b.denials(t); maps.Equal(got, told) {
			t.Errorf("round %d: a denial was not counted: %v", i, got)
		}
		b.want(exitDone, "up")
		if again := j.pinIDs(); !maps.Equal(again, after) {
			t.Errorf("round %d: another up changed pins", i)
		}
		b.apply(wdelta(nil, serviceA(), wpod("a1", ip2, serves("a", wport(80, 8080)))))
		wantReach(t, j.c, vipA, at(ip2, 8080))
		b.want(exitDone, "apply", "-f", j.config)
		now.wantWhole("after it was applied again")
	}
}

func TestWorkloadUpgradesUnderTrafficMissNoConnect(t *testing.T) {
	m := newMesh(t)
	next := m.build("next")
	m.missesNone(func(n int) { []*mesh{next, m}[n%2].up() })
}

// Metadata of connections that are open to a waypoint goes with them.
func TestOpenConnectionsToAWaypointFollowAMigration(t *testing.T) {
	m := newMesh(t)
	next := m.build("next")
	c := m.enrolled(clientIP).client(0)
	got := m.pod().record(at(wp1, plainPort))
	m.apply(wds(a1("waypoint", byIP(wp1))))
	for _, b := range []*mesh{next, m} {
		wantTold(t, c, at(ip1, 80), got, append(metadata(at(ip1, 80)), 'x'), func(fd int) error {
			b.up()
			return writeAll(fd, []byte("x"))
		})
	}
}

func TestWorkloadUpgradeThatCannotKeepAMapIsRefused(t *testing.T) {
	j := newJudged(t)
	before := j.pinIDs()
	refused(t, exitLoad, j.build("other").run("up"), "km_res", "value.data", "array of 424", "stay with the build that is up")
	if after := j.pinIDs(); !maps.Equal(before, after) {
		t.Errorf("pins before and after:\n%v\n%v", before, after)
	}
	j.wantWhole("after an upgrade that was refused")
}

func TestKilledWorkloadUpgradeIsEndedByTheNextUp(t *testing.T) {
	j := newJudged(t)
	killAndEnd(t, j.node, j.build("next").node, j.wantWhole)
}
