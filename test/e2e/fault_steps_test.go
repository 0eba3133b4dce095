// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/fault"
)

// faultRounds asks for every occurrence of every fault: FAULT_FULL=1, and for system calls
// with so many errors in turn, up to 4. Without it those of one kind are tried once.
var faultRounds, _ = strconv.Atoi(os.Getenv("FAULT_FULL"))

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
	// late begins the names of steps that come when all is done that it is for.
	late string
	// brief: without FAULT_FULL only steps that no operation before it met.
	brief bool
}

func upAgain(s *faultSite) {
	s.t.Helper()
	s.up(s.flags[0]...)
	s.whole("up again", 0)
}

// operations are in an order in which each begins where the one before it ended.
var operations = []operation{
	{"first `up`", args("up"), gone, nil, func(s *faultSite) { s.ready() }, "", false},
	{"`up` of what has other programs or maps", func(s *faultSite) []string { return append([]string{"up"}, s.flags[1]...) },
		nothing, firstEndpoint, upAgain, "", false},
	{"`up` again", args("up"), nothing, firstEndpoint, upAgain, "", true},
	{"`apply`", func(s *faultSite) []string { return []string{"apply", "-f", s.docs[1]} },
		func(s *faultSite) { s.want(exitDone, "apply", "-f", s.docs[0]) },
		func(s *faultSite) []string { return s.endpoints[:] },
		func(s *faultSite) { s.want(exitDone, "apply", "-f", s.docs[1]); s.whole("apply again", 1) }, "", false},
	{"`enroll`", func(s *faultSite) []string { return []string{"enroll", "--netns", s.server.path} },
		func(s *faultSite) {
			// What an apply leaves for the next writer has enroll publish.
			s.want(exitDone, "apply", "-f", s.docs[1])
			s.want(exitDone, "apply", "-f", s.docs[0])
			s.run("unenroll", "--netns", s.server.path)
		}, firstEndpoint,
		func(s *faultSite) { s.enroll(s.server); upAgain(s) }, "", false},
	{"`unenroll`", func(s *faultSite) []string { return []string{"unenroll", "--netns", s.server.path} },
		func(s *faultSite) { s.enroll(s.server) }, firstEndpoint,
		func(s *faultSite) { s.enroll(s.server); upAgain(s) }, "publish", false},
	{"`up` of the other mode", func(s *faultSite) []string { return []string{"--mode", s.other(), "up"} },
		nothing, func(s *faultSite) []string { return []string{s.endpoints[0], vipA} },
		func(s *faultSite) {
			s.want(exitDone, "--mode", s.other(), "up")
			s.wantOneMode(s.other())
			s.up(s.flags[0]...)
			s.wantOneMode(s.mode)
			s.want(exitDone, "apply", "-f", s.docs[0])
			s.whole("mode changed and back", 0)
		}, "", true},
	{"`down`", args("down"), nothing, func(s *faultSite) []string { return []string{s.endpoints[0], vipA} },
		func(s *faultSite) { s.ready() }, "", false},
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

// few steps are all tried.
const few = 12

// once leaves one occurrence of each step, and none where met has it already; all of
// them where they are asked for.
func once(l []string, met map[string]bool) []string {
	if faultRounds > 0 || len(l) < few {
		return l
	}
	return slices.DeleteFunc(slices.Clone(l), func(at string) bool {
		step := stepOf(at).Name
		again := met[step]
		met[step] = true
		return again
	})
}

// met is where an operation notes what it tried: one that is brief with all others.
func (op operation) met(all map[string]bool) map[string]bool {
	if op.brief {
		return all
	}
	return map[string]bool{}
}

// reachedSteps are the steps that a command was killed at.
var reachedSteps = map[string]bool{}

func TestFaultKilledAtEveryStep(t *testing.T) {
	ran, met := 0, map[string]bool{}
	for _, mode := range faultModes {
		t.Run(mode, func(t *testing.T) {
			s := newFaultSite(t, mode)
			s.ready()
			for _, op := range operations {
				t.Run(op.name, func(t *testing.T) { ran++; killEverywhere(s.in(t), op, met) })
			}
		})
	}
	t.Run("mounts", killWhileMounting)
	if ran < len(faultModes)*len(operations) {
		return // not all of them were asked for
	}
	for _, step := range fault.Steps {
		if !reachedSteps[step.Name] {
			t.Errorf("no command reaches step %q", step.Name)
		}
	}
}

// killWhileMounting is for a host on which neither bpffs nor cgroup2 is mounted. An empty
// directory may be left by down: what it was made for is gone with the mount.
func killWhileMounting(t *testing.T) {
	n := newNodeOf(t, "workload")
	own := &faultSite{node: elsewhere(n, filepath.Join(n.dir, "own", "bpf"), filepath.Join(n.dir, "own", "cgroup2"))}
	before := mountNames(t)
	up := own.traced("up")
	mounted := mountNames(t)
	down := own.traced("down")
	tried := 0
	try := func(step string, args ...string) {
		reachedSteps[stepOf(step).Name] = true
		if r := own.hurt("kill:"+step, args...); r.code != -1 {
			t.Errorf("%v\nit was not killed at %s", r, step)
		}
		tried++
	}
	for _, step := range mountSteps(up) {
		try(step, "up")
		own.up()
		if now := mountNames(t); now != mounted {
			t.Errorf("up killed at %s, then up: mounts\n%s\nwithout the kill\n%s", step, now, mounted)
		}
		own.want(exitDone, "down")
	}
	for _, step := range mountSteps(down) {
		own.up()
		try(step, "down")
		own.want(exitDone, "down")
		if now := mountNames(t); now != before {
			t.Errorf("down killed at %s, then down: mounts\n%s\nbefore up\n%s", step, now, before)
		}
	}
	report("`kill -9` at every step of mounting and unmounting", tried)
}

// mountSteps are those that are about mounts.
func mountSteps(l []string) []string {
	return slices.DeleteFunc(l, func(step string) bool {
		return !slices.Contains([]string{"mount", "mounted", "unmount"}, stepOf(step).Name)
	})
}

func mountNames(t testing.TB) string {
	t.Helper()
	l, err := readMounts()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range l {
		names = append(names, m.String())
	}
	slices.Sort(names)
	return strings.Join(names, "\n")
}

func killEverywhere(s *faultSite, op operation, met map[string]bool) {
	op.before(s)
	steps := s.traced(op.args(s)...)
	op.after(s)
	reference := s.state()
	for _, step := range steps {
		kind := stepOf(step)
		reachedSteps[kind.Name] = true
		if !slices.Contains(fault.Steps, kind) {
			s.t.Errorf("step %q is not in fault.Steps", step)
		}
	}
	tried := once(steps, op.met(met))
	for _, step := range tried {
		met[stepOf(step).Name] = true
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
	met := map[string]bool{}
	for _, mode := range faultModes {
		t.Run(mode, func(t *testing.T) {
			s := newFaultSite(t, mode)
			s.ready()
			for _, op := range operations {
				t.Run(op.name, func(t *testing.T) { failEverywhere(s.in(t), op, met) })
			}
		})
	}
}

// failEverywhere asks for a command that fails to leave what was there.
func failEverywhere(s *faultSite, op operation, met map[string]bool) {
	op.before(s)
	steps := s.traced(op.args(s)...)
	op.after(s)
	tried := 0
	slices.Reverse(steps) // the last time of each, where the first one was killed
	for _, step := range once(steps, op.met(met)) {
		kind := stepOf(step)
		if kind.OnlyKill {
			continue
		}
		late := kind.Late || op.late != "" && strings.HasPrefix(kind.Name, op.late)
		if late && op.brief && faultRounds == 0 {
			continue // as in the operations before it
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
		if r.code == exitUnexpected || r.code == exitDone && !late {
			s.t.Errorf("%v\nmade to fail at %s", r, step)
		}
		if !late {
			s.unharmed(r, step, before)
		}
		tried++
		met[kind.Name] = true
		if s.t.Failed() {
			s.t.Fatalf("failed at %s", step)
		}
		if late {
			op.after(s)
		}
	}
	op.after(s)
	s.t.Logf("failed %d times", tried)
	report("a failure at every step of "+op.name, tried)
}

// stepOf is the step of which STEP#N is the N-th time.
func stepOf(at string) fault.Step {
	name, _, _ := strings.Cut(at, "#")
	for _, s := range fault.Steps {
		if s.Name == name {
			return s
		}
	}
	return fault.Step{Name: name}
}

// unharmed asks for a command that failed to have left what was there.
func (s *faultSite) unharmed(r result, step string, before map[string]string) {
	s.t.Helper()
	if lines := strings.Split(strings.TrimSpace(r.err), "\n"); r.code != exitDone && !strings.HasPrefix(lines[len(lines)-1], "kmesh-node: ") {
		s.t.Errorf("%v\nmade to fail at %s it does not say so", r, step)
	}
	if diff := changes(before, s.state()); diff != "" {
		s.t.Errorf("%v\nmade to fail at %s it left another state:\n%s", r, step, diff)
	}
}
