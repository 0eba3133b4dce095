// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/fault"
)

// faultFull asks for every occurrence of every fault: FAULT_FULL=1. Without it those of
// one kind are tried once.
var faultFull = os.Getenv("FAULT_FULL") != ""

// operation is a command that is hurt at each of its steps.
type operation struct {
	name string
	args func(s *faultSite) []string
	// before brings the host to where the command begins, again after each time.
	before func(s *faultSite)
	// under is where connections go while the command is hurt; nil: none are made.
	under func(s *faultSite) []string
	// after is done once it was: the command again, and what then must hold.
	after func(s *faultSite)
}

func upAgain(s *faultSite) {
	s.t.Helper()
	s.up(s.flags[0]...)
	s.whole("up again", 0)
}

// operations are in an order in which each begins where the one before it ended.
var operations = []operation{
	{"first `up`", args("up"), gone, nil, func(s *faultSite) { s.ready() }},
	{"`up` of what has other programs or maps", func(s *faultSite) []string { return append([]string{"up"}, s.flags[1]...) },
		nothing, firstEndpoint, upAgain},
	{"`up` again", args("up"), nothing, firstEndpoint, upAgain},
	{"`apply`", func(s *faultSite) []string { return []string{"apply", "-f", s.docs[1]} },
		func(s *faultSite) { s.want(exitDone, "apply", "-f", s.docs[0]) },
		func(s *faultSite) []string { return s.endpoints[:] },
		func(s *faultSite) { s.want(exitDone, "apply", "-f", s.docs[1]); s.whole("apply again", 1) }},
	{"`enroll`", func(s *faultSite) []string { return []string{"enroll", "--netns", s.server.path} },
		func(s *faultSite) {
			s.want(exitDone, "apply", "-f", s.docs[0])
			s.run("unenroll", "--netns", s.server.path)
		}, firstEndpoint,
		func(s *faultSite) { s.enroll(s.server); upAgain(s) }},
	{"`unenroll`", func(s *faultSite) []string { return []string{"unenroll", "--netns", s.server.path} },
		func(s *faultSite) { s.enroll(s.server) }, firstEndpoint,
		func(s *faultSite) { s.enroll(s.server); upAgain(s) }},
	{"`up` of the other mode", func(s *faultSite) []string { return []string{"--mode", s.other(), "up"} },
		nothing, func(s *faultSite) []string { return []string{s.endpoints[0], vipA} },
		func(s *faultSite) {
			s.want(exitDone, "--mode", s.other(), "up")
			s.wantOneMode(s.other())
			s.up(s.flags[0]...)
			s.wantOneMode(s.mode)
			s.want(exitDone, "apply", "-f", s.docs[0])
			s.whole("mode changed and back", 0)
		}},
	{"`down`", args("down"), nothing, func(s *faultSite) []string { return []string{s.endpoints[0], vipA} },
		func(s *faultSite) { s.ready() }},
}

func args(a ...string) func(*faultSite) []string { return func(*faultSite) []string { return a } }

func nothing(*faultSite) {}

func gone(s *faultSite) { s.want(exitDone, "down") }

func firstEndpoint(s *faultSite) []string { return s.endpoints[:1] }

func (s *faultSite) other() string {
	if s.mode == "ads" {
		return "workload"
	}
	return "ads"
}

// traced returns the steps that the command goes through, STEP#N for the N-th time.
func (s *faultSite) traced(args ...string) []string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "trace")
	wantExit(s.t, exitDone, s.hurt("trace:"+file, args...))
	data, err := os.ReadFile(file)
	if err != nil {
		return nil // it goes through none
	}
	var l []string
	times := map[string]int{}
	for _, step := range strings.Fields(strings.ReplaceAll(string(data), " ", "\x00")) {
		step = strings.ReplaceAll(step, "\x00", " ")
		times[step]++
		l = append(l, fmt.Sprintf("%s#%d", step, times[step]))
	}
	return l
}

// hurt runs a command with a fault.
func (s *faultSite) hurt(what string, args ...string) result {
	s.t.Helper()
	cmd := s.command(args...)
	cmd.Env = append(os.Environ(), fault.Env+"="+what)
	return runCommand(s.t, cmd)
}

// once leaves one occurrence of each step, where not all of them are asked for.
func once(l []string) []string {
	if faultFull {
		return l
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(l), func(at string) bool {
		step, _, _ := strings.Cut(at, "#")
		again := seen[step]
		seen[step] = true
		return again
	})
}

// lastOnce is once of the last ones.
func lastOnce(l []string) []string {
	l = slices.Clone(l)
	slices.Reverse(l)
	return once(l)
}

// reachedSteps are the steps that a command was killed at.
var reachedSteps = map[string]bool{}

func TestFaultKilledAtEveryStep(t *testing.T) {
	ran := 0
	for _, mode := range faultModes {
		t.Run(mode, func(t *testing.T) {
			s := newFaultSite(t, mode)
			s.ready()
			for _, op := range operations {
				t.Run(op.name, func(t *testing.T) { ran++; killEverywhere(s.in(t), op) })
			}
		})
	}
	if ran < len(faultModes)*len(operations) {
		return // not all of them were asked for
	}
	for _, step := range fault.Steps {
		if !reachedSteps[step.Name] {
			t.Errorf("no command reaches step %q", step.Name)
		}
	}
}

func killEverywhere(s *faultSite, op operation) {
	op.before(s)
	steps := s.traced(op.args(s)...)
	op.after(s)
	reference := s.state()
	for _, step := range steps {
		name, _, _ := strings.Cut(step, "#")
		reachedSteps[name] = true
		if !slices.ContainsFunc(fault.Steps, func(s fault.Step) bool { return s.Name == name }) {
			s.t.Errorf("step %q is not in fault.Steps", name)
		}
	}
	tried := once(steps)
	for _, step := range tried {
		op.before(s)
		var l *load
		if op.under != nil {
			l = s.pod.connects(vipA)
		}
		r := s.hurt("kill:"+step, op.args(s)...)
		if r.code != -1 {
			s.t.Errorf("%v\nit was not killed at %s", r, step)
		}
		if l != nil {
			l.onlyTo(s.t, op.under(s)...)
		}
		op.after(s)
		if diff := changes(named(reference), named(s.state())); diff != "" {
			s.t.Errorf("killed at %s, then repaired, unlike without the kill:\n%s", step, diff)
		}
		if s.t.Failed() {
			s.t.Fatalf("killed at %s", step)
		}
	}
	s.t.Logf("killed %d times", len(tried))
	report("`kill -9` at every step of "+op.name, len(tried))
}

func TestFaultFailureAtEveryStep(t *testing.T) {
	for _, mode := range faultModes {
		t.Run(mode, func(t *testing.T) {
			s := newFaultSite(t, mode)
			s.ready()
			for _, op := range operations {
				t.Run(op.name, func(t *testing.T) { failEverywhere(s.in(t), op) })
			}
		})
	}
}

// failEverywhere asks for a command that fails to leave what was there.
func failEverywhere(s *faultSite, op operation) {
	op.before(s)
	steps := s.traced(op.args(s)...)
	op.after(s)
	tried := 0
	for _, step := range lastOnce(steps) {
		name, _, _ := strings.Cut(step, "#")
		if slices.Contains(fault.Steps, fault.Step{Name: name, OnlyKill: true}) {
			continue
		}
		op.before(s)
		before := s.state()
		var l *load
		if op.under != nil {
			l = s.pod.connects(vipA)
		}
		r := s.hurt(step, op.args(s)...)
		if l != nil {
			l.onlyTo(s.t, op.under(s)...)
		}
		s.failedWell(r, step, op, before)
		op.after(s)
		tried++
		if s.t.Failed() {
			s.t.Fatalf("failed at %s", step)
		}
	}
	s.t.Logf("failed %d times", tried)
	report("a failure at every step of "+op.name, tried)
}

// failedWell checks what a command that was made to fail said and left.
func (s *faultSite) failedWell(r result, step string, op operation, before map[string]string) {
	s.t.Helper()
	if r.code <= 1 {
		s.t.Errorf("%v\nmade to fail at %s", r, step)
	}
	if diff := changes(before, s.state()); diff != "" {
		s.t.Errorf("%v\nmade to fail at %s it left another state:\n%s", r, step, diff)
	}
}
