// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"os"
	"testing"
)

// steps are those of up that KMESH_NODE_FAULT can fail.
var steps = []string{"mount", "record", "load", "pin", "tail", "settings", "attach", "store", "commit"}

// faulty runs up with this fault; it must not succeed.
func faulty(t *testing.T, n *node, fault string, flags ...string) result {
	t.Helper()
	cmd := n.command(append([]string{"up"}, flags...)...)
	cmd.Env = append(os.Environ(), "KMESH_NODE_FAULT="+fault)
	r := runCommand(t, cmd)
	if r.code == exitDone {
		t.Errorf("%v\nwith the fault %s", r, fault)
	}
	return r
}

func TestFailureAtAnyStepLeavesWhatWasThere(t *testing.T) {
	n := newNode(t)
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

	n.up()
	p := newPod(t)
	p.serve(service, epA1)
	n.enroll(p)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	c := p.client(0)
	before := n.pinIDs()
	for _, step := range steps {
		// Another variant: programs to load and links to change. It may be done
		// before the step is met, or not meet it at all.
		r := runFault(t, n, step, "--connect-ret", "off")
		if r.code == exitDone {
			n.up()
			before = n.pinIDs()
			continue
		}
		if after := n.pinIDs(); !maps.Equal(before, after) {
			t.Errorf("%v\npins before and after:\n%v\n%v", r, before, after)
		}
		wantReach(t, c, service, epA1)
	}
}

func runFault(t *testing.T, n *node, fault string, flags ...string) result {
	t.Helper()
	cmd := n.command(append([]string{"up"}, flags...)...)
	cmd.Env = append(os.Environ(), "KMESH_NODE_FAULT="+fault)
	return runCommand(t, cmd)
}

func TestUpRepairsWhatAnUpLeftThatWasKilledAtAnyStep(t *testing.T) {
	n := newNode(t)
	p := newPod(t)
	p.serve(service, epA1)
	c := p.client(0)
	docs := n.write(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	clean, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		faulty(t, n, "kill:"+step)
		n.up()
		n.enroll(p)
		n.want(exitDone, "apply", "-f", docs)
		wantReach(t, c, service, epA1)
		n.want(exitDone, "down")
		faulty(t, n, "kill:"+step)
		n.want(exitDone, "down")
		if err := clean.unchanged(); err != nil {
			t.Fatalf("up killed at step %s, then down:\n%v", step, err)
		}
	}
}
