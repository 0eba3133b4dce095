// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// planned is what `plan -o json` prints.
type planned struct {
	Mode, Start, Run string
	Changes          []struct{ Action, Kind, Name, Why, Mode string }
}

// pinKinds are the kinds of changes that are pins, and where these are.
var pinKinds = map[string]string{"map": "map/", "program": "prog/", "link": "link/", "record": ""}

// plan runs plan with the flags of an up. It must change nothing.
func (n *node) plan(flags ...string) (p planned) {
	n.t.Helper()
	before := settled(n.t)
	n.query(&p, append([]string{"plan"}, flags...)...)
	if err := before.unchanged(); err != nil {
		n.t.Errorf("after plan %v:\n%v", flags, err)
	}
	return p
}

// foretold runs plan, then up: the pins after that must be those that the plan says.
func (n *node) foretold(start string, flags ...string) planned {
	n.t.Helper()
	p := n.plan(flags...)
	if p.Start != start {
		n.t.Errorf("plan %v says start %q, want %q", flags, p.Start, start)
	}
	before := n.pinIDs()
	n.up(flags...)
	after := n.pinIDs()
	told := map[string]bool{}
	for _, c := range p.Changes {
		dir, ok := pinKinds[c.Kind]
		if !ok {
			continue
		}
		pin := filepath.Join("kmesh_node", c.Mode, dir+c.Name)
		told[pin] = true
		was, is := before[pin], after[pin]
		holds := false
		switch c.Action {
		case "keep":
			holds = was == is && is != ""
		case "create":
			holds = was == "" && is != ""
		case "delete":
			holds = was != "" && is == ""
		case "rebuild", "migrate":
			holds = was != "" && is != "" && was != is
		case "update":
			// A link keeps its id and runs another program.
			holds = was != "" && is != "" && (was != is || c.Kind == "link" || c.Kind == "record")
		case "repair":
			holds = is != ""
		}
		if !holds {
			n.t.Errorf("plan %v says %s %s; it was %q, and is %q", flags, c.Action, pin, was, is)
		}
	}
	for pin := range after {
		if !told[pin] {
			n.t.Errorf("plan %v says nothing of %s", flags, pin)
		}
	}
	if again := n.plan(flags...).pending(); len(again) > 0 {
		n.t.Errorf("pending after up %v: %v", flags, again)
	}
	return p
}

// pending is what a plan does, as lines.
func (p planned) pending() (l []string) {
	for _, c := range p.Changes {
		if c.Action != "keep" {
			l = append(l, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.Action, c.Kind, c.Name, c.Why)))
		}
	}
	return l
}

// only asks for this to be all that is done, beside the record.
func (p planned) only(t *testing.T, beginnings ...string) {
	t.Helper()
	for _, l := range p.pending() {
		found := l == "update record meta"
		for _, b := range beginnings {
			found = found || strings.HasPrefix(l, b)
		}
		if !found {
			t.Errorf("the plan says: %s; want only %q", l, beginnings)
		}
	}
	if len(p.pending()) < len(beginnings) {
		t.Errorf("the plan says %q, want %q", p.pending(), beginnings)
	}
}

func TestPlanSaysWhatUpDoes(t *testing.T) {
	n := newNode(t)
	n.foretold("normal")
	n.foretold("restart").only(t)
	n.foretold("update", "--connect-ret", "off")
	n.foretold("update")
	n.foretold("restart", "--manage", "all").only(t, "update settings km_config")
	if err := os.Remove(filepath.Join(n.bpf, "kmesh_node/ads/link/sockconn4")); err != nil {
		t.Fatal(err)
	}
	n.foretold("restart", "--manage", "all").only(t, "repair link sockconn4 it was lost")
	if err := os.Remove(filepath.Join(n.bpf, "kmesh_node/ads/map/km_cluster")); err != nil {
		t.Fatal(err)
	}
	n.foretold("restart", "--manage", "all").only(t, "repair map km_cluster its pin was lost")
	n.mode = "workload"
	n.foretold("mode change")
}

func TestWorkloadPlanSaysWhatUpDoes(t *testing.T) {
	m := &mesh{newNodeOf(t, "workload"), newFabric(t)}
	m.foretold("normal")
	p := m.enrolled(serverIP)
	m.foretold("restart").only(t)
	link := m.nicLinks(p.cookie())[0]
	if err := os.Remove(filepath.Join(m.bpf, link)); err != nil {
		t.Fatal(err)
	}
	m.foretold("restart").only(t, "repair link xdpauth-")
	m.foretold("restart", "--flow-entries", "4096")
	m.foretold("restart", "--policy-slots", "8192", "--flow-entries", "4096")
	m.foretold("restart", "--policy-slots", "8192", "--flow-entries", "4096", "--node-traffic", "judge").only(t, "update settings km_pstate")
	m.mode = "ads"
	m.foretold("mode change")
}

// Beside a live run its reconciliation does what is pending, not up.
func TestPlanBesideARun(t *testing.T) {
	n := newNode(t)
	daemon := n.background("run", "--reconcile-interval", "1h")
	if err := eventually(func() error { return wantUp(n) }); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(n.bpf, "kmesh_node/ads/prog/filter4")); err != nil {
		t.Fatal(err)
	}
	pid := fmt.Sprint(daemon.Process.Pid)
	p := n.plan()
	if p.Run != pid {
		t.Errorf("plan says run %q, want %s", p.Run, pid)
	}
	p.only(t, "repair program filter4")
	if r := n.want(exitDone, "status"); !strings.Contains(r.out, "kill -HUP "+pid) {
		t.Errorf("%v\ndoes not say what repairs beside a run", r)
	}
	refused(t, exitLocked, n.run("plan", "--connect-ret", "off"), pid, "another build")
}

func TestPlanFailsAsUpWould(t *testing.T) {
	n := newNode(t)
	other := filepath.Join(n.dir, "other")
	mountAt(t, "tmpfs", other)
	refused(t, exitNotReady, elsewhere(n, other, "").run("plan"), other, "--bpf-fs-path")
	refused(t, exitNotReady, elsewhere(n, "", other).run("plan"), other, "--cgroup2-path")
	refused(t, exitNotReady, n.withoutBTF("plan"), "BTF", "--btf")
	refused(t, exitUsage, n.run("plan", "--flow-entries", "4096"), "--mode workload")
	refused(t, exitUsage, n.run("plan", "now"), "now")
	for _, form := range []string{"table", "yaml"} {
		if r := n.want(exitDone, "plan", "-o", form); !contains(r.out, "sockconn4") {
			t.Errorf("%v\ndoes not show sockconn4", r)
		}
	}
}
