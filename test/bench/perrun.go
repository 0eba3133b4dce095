// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
)

const (
	runRounds = 15   // rounds of the figures per run
	runLength = 1500 // connections in each
	warmUp    = 60   // connections before any that are measured
)

// A course is a kind of connection under a set of programs, the first of which
// runs once for each connection.
type course struct {
	name    string
	set     hooks
	pod     *pod
	to      netip.AddrPort
	arrives []netip.AddrPort
	events  *reader // of what the programs report; nil: nobody
}

// costs holds, by course and program, the ns that the program took for one
// connection, in each round; under the program's name and runsOf how often it ran.
type costs map[string]map[string][]float64

const runsOf = ", runs"

// perRun measures by the kernel's own count; the run time of a program includes
// what it tail-calls. Each round runs all courses, in an order that rotates.
func perRun(cgroup int, courses []course) (costs, error) {
	stats, err := enableStats()
	if err != nil {
		return nil, err
	}
	defer closeFD(stats)
	out := costs{}
	for _, c := range courses {
		out[c.name] = map[string][]float64{}
	}
	for i := range runRounds {
		for j := range courses {
			c := courses[(i+j)%len(courses)]
			if err := c.once(cgroup, out[c.name]); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return out, nil
}

func (c *course) once(cgroup int, out map[string][]float64) error {
	detach, err := c.set.attach(cgroup)
	if err != nil {
		return err
	}
	defer detach()
	return c.events.follow(func() error { return c.inside(out) })
}

// inside makes the connections and reads what they cost.
func (c *course) inside(out map[string][]float64) error {
	return c.pod.inside(func() error {
		if _, err := c.pod.connect(warmUp, c.to); err != nil {
			return err
		}
		before, err := c.set.read()
		if err != nil {
			return err
		}
		done, err := c.pod.connect(runLength, c.to)
		if err != nil {
			return err
		}
		after, err := c.set.read()
		if err != nil {
			return err
		}
		if runs := after[0].Runs - before[0].Runs; runs != runLength {
			return fmt.Errorf("program ran %d times in %d connections", runs, runLength)
		}
		for i, p := range after {
			out[p.Name] = append(out[p.Name], float64(p.Nanos-before[i].Nanos)/runLength)
			out[p.Name+runsOf] = append(out[p.Name+runsOf], float64(p.Runs-before[i].Runs)/runLength)
		}
		return done.expect(c.arrives...)
	})
}

// floorCourse is a connection to the service under floor programs alone.
func (b *bench) floorCourse(p *pod, arrives netip.AddrPort, names ...string) (course, error) {
	c := course{name: names[0], pod: p, to: service, arrives: []netip.AddrPort{arrives}}
	for _, name := range names {
		h, err := b.floors.hook(name)
		if err != nil {
			return course{}, err
		}
		c.set = append(c.set, h)
	}
	return c, nil
}

// ourCourse is a connection under kmesh-node's programs.
func (b *bench) ourCourse(name string, p *pod, to netip.AddrPort, arrives ...netip.AddrPort) course {
	return course{name: name, set: b.hooks, pod: p, to: to, arrives: arrives}
}

const connect4 = "sockconn4"

// measureUnconfigured adds what connect4 costs an enrolled pod while nothing is
// configured at all.
func (b *bench) measureUnconfigured() error {
	floor, err := b.floorCourse(b.enrolled, service, "floor_lookup")
	if err != nil {
		return err
	}
	out, err := perRun(b.cgroupFD, []course{floor, b.ourCourse("ours", b.enrolled, service, service)})
	if err != nil {
		return err
	}
	b.report.add(connectRow("connect4, nothing configured", 210, 200, out["ours"][connect4],
		out["floor_lookup"]["floor_lookup"], 125, "one lookup of the namespace"))
	return nil
}

// connectRow is a figure of connect4 with a target that was set where the floor
// took then ns. How fast the machine is goes into both, so the note compares
// what each is of its floor.
func connectRow(figure string, reference, target float64, ours, floor []float64, then float64, what string) row {
	r := row{
		Figure: figure, Unit: "ns/run", Reference: &reference, Target: &target, Floor: some(median(floor)),
	}.from(ours)
	r.Note = fmt.Sprintf("%.2f times the floor (%s); the target is %.2f times the floor of when it was set, %.0f",
		*r.Ours / *r.Floor, what, target/then, then)
	return r
}

// measureRuns adds what the programs cost with the service configured.
func (b *bench) measureRuns() error {
	rewrite, err := b.floorCourse(b.enrolled, backends[0], "floor_rewrite", "floor_sockops", "floor_state")
	if err != nil {
		return err
	}
	lookup, err := b.floorCourse(b.enrolled, service, "floor_lookup")
	if err != nil {
		return err
	}
	least, err := b.floorCourse(b.outside, service, "floor_return")
	if err != nil {
		return err
	}
	courses := []course{
		rewrite, b.ourCourse("hit", b.enrolled, service, backends...),
		least, b.ourCourse("outside", b.outside, service, service),
		lookup, b.ourCourse("address", b.enrolled, otherIP, otherIP),
		b.ourCourse("port", b.enrolled, nothing, nothing),
	}
	if b.rivals != nil {
		courses = append(courses, course{name: "rival", set: b.rivals, pod: b.enrolled, to: service, arrives: backends})
	}
	out, err := perRun(b.cgroupFD, courses)
	if err != nil {
		return err
	}
	tails, err := b.tailNote()
	if err != nil {
		return err
	}
	floor := func(name string) *float64 { return some(median(out[name][name])) }
	hit := connectRow("connect4, a hit", 1650, 350, out["hit"][connect4],
		out["floor_rewrite"]["floor_rewrite"], 156, "lookups of the namespace and of the address, and the rewrite")
	hit.Note += "; " + tails
	b.report.add(
		hit,
		connectRow("connect4, not enrolled", 128, 135, out["outside"][connect4],
			out["floor_return"]["floor_return"], 67, "only return 1"),
		row{Figure: "connect4, no listener on the port", Unit: "ns/run", Floor: floor("floor_lookup")}.from(out["port"][connect4]),
		row{Figure: "connect4, a listener on the port, not at the address", Unit: "ns/run", Floor: floor("floor_lookup")}.from(out["address"][connect4]),
	)
	if v := out["rival"][connect4]; v != nil {
		b.report.add(row{Figure: "connect4, a hit, of " + b.against, Unit: "ns/run", Floor: floor("floor_rewrite")}.from(v))
	}
	for ours, least := range map[string]string{"sock_ops": "floor_sockops", "sock_state": "floor_state"} {
		if v := out["hit"][ours]; v != nil {
			b.report.add(row{
				Figure: ours + ", all runs of a hit", Unit: "ns/connection",
				Floor: some(median(out["floor_rewrite"][least])), Note: "floor: a return-only program there",
			}.from(v))
		}
	}
	return nil
}

// tailNote says what the kernel counted on the programs that are not attached but
// tail-called: nothing, because their time is in the entry's.
func (b *bench) tailNote() (string, error) {
	progs, err := b.programs()
	if err != nil {
		return "", err
	}
	attached, err := b.hooks.read()
	if err != nil {
		return "", err
	}
	entries := map[uint32]bool{}
	for _, p := range attached {
		entries[p.ID] = true
	}
	var entry, tails uint64
	for _, p := range progs {
		switch {
		case p.Name == connect4:
			entry = p.Runs
		case !entries[p.ID]:
			tails += p.Runs
		}
	}
	return fmt.Sprintf("what it tail-calls is in it: %d runs counted on %s, %d on programs that are only tail-called",
		entry, connect4, tails), nil
}
