// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// judged is a client, and a pod that is enrolled and lets nobody in, both also
// enrolled after m is up again.
type judged struct {
	*mesh
	c        *client
	server   *pod
	stranger *client
	config   string
}

func newJudged(t *testing.T) *judged {
	t.Helper()
	m := &mesh{newNodeOf(t, "workload"), newFabric(t)}
	m.backends()
	j := &judged{mesh: m, server: m.pod(serverIP), stranger: m.pod("10.1.0.8").client(0)}
	client := m.pod(clientIP)
	j.c = client.client(0)
	j.server.serve(at(serverIP, 7000))
	j.config = m.write(wds(serviceA(), a1(), wpod("p", serverIP)), denyAll())
	m.up()
	m.enroll(client)
	m.enroll(j.server)
	m.want(exitDone, "apply", "-f", j.config)
	return j
}

// wantWhole asks for both halves of the data plane to work.
func (j *judged) wantWhole(when string) {
	j.t.Helper()
	if got := j.c.reach(vipA); got != at(ip1, 8080) {
		j.t.Errorf("%s: a connection to %s reached %s", when, vipA, got)
	}
	if !denied(j.stranger, at(serverIP, 7000)) {
		j.t.Errorf("%s: a denied connection was let in", when)
	}
}

func (j *judged) wantNothing(when string) {
	j.t.Helper()
	if got := j.c.reach(vipA); got != vipA {
		j.t.Errorf("%s: a connection to %s reached %s", when, vipA, got)
	}
	if denied(j.stranger, at(serverIP, 7000)) {
		j.t.Errorf("%s: a connection was denied", when)
	}
}

func TestWorkloadDownLeavesTheHostAsItWas(t *testing.T) {
	j := newJudged(t)
	j.wantWhole("up")
	j.want(exitDone, "down")
	j.wantNothing("after down")
	before := settled(t)
	for range 2 {
		j.up()
		j.want(exitDone, "enroll", "--netns", j.server.path)
		j.want(exitDone, "apply", "-f", j.config)
		j.want(exitDone, "down")
		j.want(exitDone, "down")
		if err := before.unchanged(); err != nil {
			t.Errorf("after down:\n%v", err)
		}
	}
}

// settled is a snapshot after the kernel has freed what it is about to: sockets'
// storage and links last.
func settled(t testing.TB) (now hostState) {
	t.Helper()
	var last hostState
	if err := eventually(func() (err error) {
		time.Sleep(100 * time.Millisecond)
		last = now
		now, err = snapshot()
		if err == nil && !maps.Equal(last, now) {
			err = errors.New("objects come or go")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return now
}

func TestWorkloadUpAgainChangesNothing(t *testing.T) {
	j := newJudged(t)
	before := j.pinIDs()
	j.up()
	if after := j.pinIDs(); !maps.Equal(before, after) {
		t.Errorf("pins before and after another up:\n%v\n%v", before, after)
	}
	j.wantWhole("up again")
}

func TestWorkloadKillOfEverythingLeavesTraffic(t *testing.T) {
	j := newJudged(t)
	w := j.workloadPusher()
	before := j.pinIDs()
	w.say("loop", j.config, j.write(wdelta(nil, wpod("z", "10.9.9.9"))))
	j.wantWhole("with a writer")
	w.kill()
	j.wantWhole("after the kill")
	j.up()
	if after := j.pinIDs(); !maps.Equal(before, after) {
		t.Errorf("pins before the kill and after up:\n%v\n%v", before, after)
	}
	j.wantWhole("up again")
}

func TestWorkloadUpRepairsWhatAKilledUpLeft(t *testing.T) {
	j := newJudged(t)
	flags := [][]string{{"--flow-entries", "4096"}, {"--policy-slots", "8192"}, {}}
	for i := range 9 {
		cmd := j.command(append([]string{"up"}, flags[i%len(flags)]...)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(80)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Log("up was done before it was killed")
		}
		j.wantWhole("up killed")
		j.up()
		j.wantWhole("up again")
	}
}

func TestWorkloadUpRepairsMissingPins(t *testing.T) {
	j := newJudged(t)
	for pin := range j.pinIDs() {
		if strings.Contains(pin, "/link/") {
			if err := os.Remove(filepath.Join(j.bpf, pin)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := eventually(func() error { // a link lives as long as its pin
		if got := j.c.reach(vipA); got != vipA {
			return &statusError{result{out: got}}
		}
		return nil
	}); err != nil {
		t.Errorf("without links: %v", err)
	}
	j.up()
	j.wantWhole("up again")
}

func TestWorkloadFailureAtAnyStepLeavesWhatWasThere(t *testing.T) {
	n := newNodeOf(t, "workload")
	clean, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		faulty(t, n, step)
		if err := clean.unchanged(); err != nil {
			t.Errorf("after up failed at step %s on a clean host:\n%v", step, err)
			n.want(exitDone, "down")
		}
	}
	j := newJudged(t)
	before := j.pinIDs()
	for i, step := range steps {
		// Other maps: programs to load and links to change. It may be done before the
		// step is met, or not meet it at all.
		r := runFault(t, j.node, step, "--flow-entries", []string{"4096", "8192"}[i%2])
		if r.code == exitDone {
			j.up()
			before = j.pinIDs()
			continue
		}
		if after := j.pinIDs(); !maps.Equal(before, after) {
			t.Errorf("%v\npins before and after:\n%v\n%v", r, before, after)
		}
		j.wantWhole("up failed at " + step)
	}
}

func TestWorkloadUpRepairsWhatAnUpLeftThatWasKilledAtAnyStep(t *testing.T) {
	j := newJudged(t)
	for i, step := range steps {
		r := runFault(t, j.node, "kill:"+step, "--flow-entries", []string{"4096", "8192"}[i%2])
		j.wantWhole("up killed at " + step)
		if r.code == exitDone {
			t.Logf("up does not meet the step %s", step)
		}
		j.up()
		j.wantWhole("up after a kill at " + step)
	}
	for _, step := range steps {
		j.want(exitDone, "down")
		runFault(t, j.node, "kill:"+step)
		j.want(exitDone, "down")
		j.wantNothing("down after a kill at " + step)
	}
}

// Programs are loaded anew and links change, with maps of another size.
func TestWorkloadUpUnderTrafficMissesNoConnect(t *testing.T) {
	m := newMesh(t)
	m.missesNone(func(n int) {
		m.up("--flow-entries", []string{"4096", "65536"}[n%2], "--policy-slots", []string{"8192", "4096"}[n%2])
	})
}

// missesNone makes change after change beside connections: each is managed and judged.
func (m *mesh) missesNone(change func(n int)) {
	t := m.t
	t.Helper()
	p := m.pod()
	p.serveFast(vipA, at(ip1, 8080))
	server := m.enrolled(serverIP)
	server.serveFast(at(serverIP, 7000))
	c, stranger := m.enrolled(clientIP).client(0), m.pod("10.1.0.8").client(1)
	m.apply(wds(serviceA(), a1(), wpod("p", serverIP)), denyAll())
	got, let := make(chan counts), make(chan counts)
	go func() { got <- c.spread(vipA, lot) }()
	go func() { let <- stranger.spread(at(serverIP, 7000), lot/10) }()
	for changes := 0; ; changes++ {
		select {
		case all := <-got:
			t.Logf("%d changes beside %d connections", changes, lot)
			if changes < 2 {
				t.Errorf("only %d changes beside %d connections", changes, lot)
			}
			wantOnly(t, all, at(ip1, 8080))
			wantOnly(t, <-let, refusal)
			return
		default:
			change(changes)
		}
	}
}

// A connection that is open to a waypoint and has not written yet when the programs
// are replaced has its metadata all the same.
func TestOpenConnectionsToAWaypointFollowAnUpgrade(t *testing.T) {
	m := newMesh(t)
	c := m.enrolled(clientIP).client(0)
	got := m.pod().record(at(wp1, plainPort))
	m.apply(wds(a1("waypoint", byIP(wp1))))
	for _, flags := range [][]string{{}, {"--flow-entries", "4096"}, {"--policy-slots", "8192"}} {
		wantTold(t, c, at(ip1, 80), got, append(metadata(at(ip1, 80)), 'x'), func(fd int) error {
			m.up(flags...)
			return writeAll(fd, []byte("x"))
		})
	}
	// Pins that are lost change nothing either.
	wantTold(t, c, at(ip1, 80), got, append(metadata(at(ip1, 80)), 'x'), func(fd int) error {
		for pin := range m.pinIDs() {
			if strings.Contains(pin, "/link/") {
				if err := os.Remove(filepath.Join(m.bpf, pin)); err != nil {
					return err
				}
			}
		}
		m.up()
		return writeAll(fd, []byte("x"))
	})
}
