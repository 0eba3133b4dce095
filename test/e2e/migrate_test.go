// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// build is the same host with the binary of another build (builds.sh): next, whose maps
// are laid out otherwise, or other, which cannot take over what is there.
func (n *node) build(name string) *node {
	n.t.Helper()
	b := *n
	b.bin = repoFile(n.t, "build", "test", "builds", name)
	return &b
}

func (m *mesh) build(name string) *mesh {
	m.t.Helper()
	return &mesh{m.node.build(name), m.net}
}

// wantOther asks that up gave these maps a new id, and no other one that outlives a load.
func wantOther(t *testing.T, before, after map[string]string, others ...string) {
	t.Helper()
	want := map[string]bool{"km_scratch": true, "km_tail4": true, "km_tail6": true}
	for _, name := range others {
		want[name] = true
	}
	for pin, id := range before {
		if name, ok := strings.CutPrefix(filepath.Base(filepath.Dir(pin))+"/"+filepath.Base(pin), "map/"); ok {
			if (after[pin] != id) != want[name] {
				t.Errorf("map %s: id %s, was %s", name, after[pin], id)
			}
		}
	}
}

// adsMigrated and workloadMigrated are the maps that differ between this build and next.
var (
	adsMigrated = []string{"km_netns", "km_netns_slot", "km_config", "km_listener", "km_cluster", "km_route",
		"km_outer", "km_lroot", "km_meta", "km_conn", "km_stats"}
	workloadMigrated = []string{"km_netns", "km_netns_slot", "km_config", "km_frontend", "km_block", "km_peer", "km_policy",
		"km_pstate", "km_denied", "km_served", "km_wstats", "km_event", "km_reader", "km_res", "km_wmeta"}
)

// text is what a printing command prints.
func (n *node) text(args ...string) string {
	n.t.Helper()
	return n.want(exitDone, args...).out
}

// settings of ads mode, whole, as they are read back.
func (n *node) configuration(kinds ...string) string {
	var b strings.Builder
	for _, k := range kinds {
		b.WriteString(n.text("-o", "json", "get", k))
	}
	return b.String()
}

// raise adds to a counter of every CPU: one of 8 bytes at the start of a map's one value.
func raise(t *testing.T, pin string, size int) {
	t.Helper()
	list, err := os.ReadFile("/sys/devices/system/cpu/possible")
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	if _, err := fmt.Sscanf(string(list), "0-%d", &last); err != nil {
		last = 0
	}
	value := make([]byte, (last+1)*size)
	for i := 0; i <= last; i++ {
		binary.NativeEndian.PutUint64(value[i*size:], 1000)
	}
	if err := mapElem(pin, unix.BPF_MAP_UPDATE_ELEM, make([]byte, 4), value); err != nil {
		t.Fatal(err)
	}
}

func TestUpgradeAndDowngradeBringMapsOver(t *testing.T) {
	n := upNode(t)
	next := n.build("next")
	p := newPod(t)
	p.serve(service, service6, epA1, epA2, epB1, six1)
	n.enroll(p)
	c := p.client(0)
	n.apply(cds(withPolicy(static("a", epA1), "LEAST_REQUEST"), static("b", epB1), static("six", six1)),
		lds(listener(service, toCluster("a")), listener(service6, toCluster("six"))))
	raise(t, filepath.Join(n.bpf, "kmesh_node/ads/map/km_stats"), 32)
	var rare struct{ Rare struct{ Restarts int } }
	n.query(&rare, "status")
	restarts := rare.Rare.Restarts

	kinds := []string{"listeners", "clusters", "routes"}
	for i, b := range []*node{next, n, next, n} {
		var held *conn
		c.do(func() {
			var err error
			if held, err = open(service); err != nil {
				t.Error(err)
			}
		})
		ok, config := b.other(n, next).endpoint("a", epA1).OK, b.other(n, next).configuration(kinds...)
		before := n.pinIDs()
		r := b.want(exitDone, "up")
		after := n.pinIDs()
		wantOther(t, before, after, adsMigrated...)
		if !strings.Contains(r.err, "up: updated") {
			t.Errorf("%v", r)
		}
		if got := b.configuration(kinds...); got != config {
			t.Errorf("round %d: the configuration was\n%s\nand is\n%s", i, config, got)
		}
		if e := b.endpoint("a", epA1); e.OK != ok || e.Active != 1 {
			t.Errorf("round %d: endpoint %+v, want %d ok and one open connection", i, e, ok)
		}
		b.query(&rare, "status")
		if rare.Rare.Restarts < restarts {
			t.Errorf("round %d: %d restarts counted, were %d", i, rare.Rare.Restarts, restarts)
		}
		if held != nil {
			held.close()
		}
		if err := eventually(func() error {
			if e := b.endpoint("a", epA1); e.Active != 0 {
				return fmt.Errorf("%d connections are open", e.Active)
			}
			return nil
		}); err != nil {
			t.Errorf("round %d: after the close: %v", i, err)
		}
		wantReach(t, c, service, epA1)
		wantReach(t, c, service6, six1)
		b.want(exitDone, "up")
		if again := n.pinIDs(); !maps.Equal(again, after) {
			t.Errorf("round %d: another up changed pins", i)
		}
		// What is published then holds.
		b.apply(cds(withPolicy(static("a", epB1), "LEAST_REQUEST"), static("b", epB1), static("six", six1)))
		wantReach(t, c, service, epB1)
		b.apply(cds(withPolicy(static("a", epA1), "LEAST_REQUEST"), static("b", epB1), static("six", six1)))
		wantReach(t, c, service, epA1)
	}
}

// other is the one of two builds that n is not.
func (n *node) other(a, b *node) *node {
	if n.bin == a.bin {
		return b
	}
	return a
}

// Connections and enrolments go on while builds whose maps differ follow each other.
func TestUpgradesUnderTrafficMissNoConnectAndNoEnrolment(t *testing.T) {
	n := upNode(t, "--control-address", "on")
	next := n.build("next")
	p := newPod(t)
	p.serveFast(service, epA1, epA2)
	n.enroll(p)
	c := p.client(0)
	n.apply(cds(static("a", epA1, epA2)), lds(listener(service, toCluster("a"))))
	got := make(chan counts)
	go func() { got <- c.spread(service, many) }()
	upgrades := 0
	for done := false; !done; upgrades++ {
		guest := newPod(t)
		inside := guest.client(1)
		enrolled := make(chan string)
		go func() {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
			enrolled <- inside.reach("0.0.0.2:929")
		}()
		b := []*node{next, n}[upgrades%2]
		b.up("--control-address", "on")
		if how := <-enrolled; how != "operation not permitted" {
			t.Errorf("enrolment by the control address: %s", how)
		}
		if list := b.text("get", "enrolled"); !strings.Contains(list, fmt.Sprint(guest.cookie())) {
			t.Errorf("namespace %d enrolled itself beside an upgrade, and is not among\n%s", guest.cookie(), list)
		}
		select {
		case all := <-got:
			wantOnly(t, all, epA1, epA2)
			done = true
		default:
		}
	}
	t.Logf("%d upgrades beside %d connections", upgrades, many)
	if upgrades < 2 {
		t.Errorf("only %d upgrades beside %d connections", upgrades, many)
	}
}

// A C program that has the store open when its maps give way is told so: what it would
// publish nobody reads.
func TestWriterOfMapsThatGaveWayIsTold(t *testing.T) {
	n := upNode(t)
	p := newPod(t)
	p.serve(service, epA1, epB1)
	n.enroll(p)
	c := p.client(0)
	next := n.build("next")
	w := n.pusher()
	w.publish(n.batch(ownCluster("a", epA1), ownListener(service, ownProxy("a"))))
	next.up()
	wantReach(t, c, service, epA1)
	w.say("publish", n.batch(ownCluster("a", epB1)))
	if line, err := w.out.ReadString('\n'); err == nil {
		t.Fatalf("what it published went nowhere, and it was told %q", line)
	}
	if err := w.cmd.Wait(); err == nil {
		t.Error("the writer ended well")
	}
	wantReach(t, c, service, epA1)
	next.apply(cds(static("a", epB1)))
	wantReach(t, c, service, epB1)
}

func TestUpgradeThatCannotKeepAMapIsRefused(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	before := n.pinIDs()
	for _, verb := range []string{"up", "run"} {
		refused(t, exitLoad, n.build("other").run(verb), "km_inner", "entries 4096, this build needs 2048", "stay with the build that is up")
	}
	if after := n.pinIDs(); !maps.Equal(before, after) {
		t.Errorf("pins before and after:\n%v\n%v", before, after)
	}
	wantReach(t, c, service, epA1)
	n.apply(cds(static("a", epA2)))
	wantReach(t, c, service, epA2)
}

// Between its installation and its up, the commands of another build do not touch maps
// that they would misread.
func TestCommandsOfAnotherBuildRefuseItsMaps(t *testing.T) {
	n, p, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	next := n.build("next")
	for _, args := range [][]string{{"get", "clusters"}, {"enroll", "--netns", p.path}, {"apply", "-f", n.write(cds(static("a", epA2)))}} {
		refused(t, exitLoad, next.run(args...), "another build made it", "up")
	}
	if r := next.want(exitDone, "status"); !strings.Contains(r.out+r.err, "another build made it") {
		t.Errorf("%v\ndoes not say so", r)
	}
	wantReach(t, c, service, epA1)
}

func TestKilledUpgradeIsEndedByTheNextUp(t *testing.T) {
	n := upNode(t)
	p := newPod(t)
	p.serve(service, epA1)
	n.enroll(p)
	c := p.client(0)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	killAndEnd(t, n, n.build("next"), func(when string) {
		t.Helper()
		if got := c.reach(service); got != epA1 {
			t.Errorf("%s: a connection to %s reached %s", when, service, got)
		}
	})
}

// The programs of an upgrade that was killed before it was done run all the same, on maps
// that are not pinned in their place yet: who enrols there stays enrolled.
func TestEnrolmentsSinceAKilledUpgradeHold(t *testing.T) {
	n := upNode(t, "--control-address", "on")
	next := n.build("next")
	p := newPod(t)
	p.serve(service, epA1)
	n.enroll(p)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	here := n
	for _, on := range []bool{false, true, true, false} {
		there := here.other(n, next)
		if r := runFault(t, there, "kill:follow", "--control-address", "on"); r.code == exitDone {
			t.Fatalf("%v\nwas not killed", r)
		}
		guest := newPod(t)
		guest.serve(service, epA1)
		inside := guest.client(0)
		wantReach(t, inside, "0.0.0.2:929", "operation not permitted")
		wantReach(t, inside, service, epA1)
		if on {
			here = there
		}
		here.up("--control-address", "on")
		wantReach(t, inside, service, epA1)
		wantReach(t, p.client(0), service, epA1)
	}
}

// killAndEnd kills upgrades between two builds at their steps, and ends them by up of the
// one or of the other.
func killAndEnd(t *testing.T, n, next *node, whole func(when string)) {
	t.Helper()
	here, killed, failed := n, 0, 0
	for i, step := range []string{"migrate", "migrate#4", "link", "linked", "commit", "follow", "rename", "rename#5", "write record"} {
		for _, on := range []bool{true, false} {
			there := here.other(n, next)
			before := n.pinIDs()
			what := []string{"kill:" + step, step}[i%2]
			r := runFault(t, there, what)
			if r.code == exitDone {
				t.Fatalf("%v\nwith the fault %s", r, what)
			}
			if i%2 == 0 {
				killed++
			} else {
				failed++
			}
			whole("upgrade with the fault " + what)
			if after := n.pinIDs(); i%2 == 1 && !maps.Equal(before, after) {
				t.Errorf("fault %s: pins before and after:\n%v\n%v", what, before, after)
			}
			if on {
				here = there
			}
			here.up()
			whole("up after the fault " + what)
			for pin := range n.pinIDs() {
				if base := filepath.Base(pin); strings.HasSuffix(base, "_1") {
					t.Errorf("fault %s: %s is left", what, pin)
				}
			}
			if list := here.text("status"); strings.Contains(list, "problem") {
				t.Errorf("fault %s: %s", what, list)
			}
		}
	}
	report("`kill -9` at the steps of an upgrade to a build with other maps", killed)
	report("a failure at the steps of an upgrade to a build with other maps", failed)
}
