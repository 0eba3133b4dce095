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

// A course is a kind of connection under a set of programs, one of which is
// measured.
type course struct {
	name    string
	set     hooks
	counted int // descriptor of the program that is measured
	pod     *pod
	to      netip.AddrPort
	arrives []netip.AddrPort
}

// perRun returns, by name, what one run of each course's program took in each
// round, in ns, by the kernel's own count. The run time of a program includes
// what it tail-calls. Each round runs all courses, in an order that rotates.
func perRun(cgroup int, courses []course) (map[string][]float64, error) {
	stats, err := enableStats()
	if err != nil {
		return nil, err
	}
	defer closeFD(stats)
	out := map[string][]float64{}
	for i := range runRounds {
		for j := range courses {
			c := courses[(i+j)%len(courses)]
			ns, err := c.once(cgroup)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			out[c.name] = append(out[c.name], ns)
		}
	}
	return out, nil
}

func (c *course) once(cgroup int) (ns float64, err error) {
	detach, err := c.set.attach(cgroup)
	if err != nil {
		return 0, err
	}
	defer detach()
	err = c.pod.inside(func() error {
		if _, err := c.pod.connect(c.to, warmUp); err != nil {
			return err
		}
		before, err := readProg(c.counted)
		if err != nil {
			return err
		}
		done, err := c.pod.connect(c.to, runLength)
		if err != nil {
			return err
		}
		after, err := readProg(c.counted)
		if err != nil {
			return err
		}
		if runs := after.Runs - before.Runs; runs != runLength {
			return fmt.Errorf("program ran %d times in %d connections", runs, runLength)
		}
		ns = float64(after.Nanos-before.Nanos) / runLength
		return done.expect(c.arrives...)
	})
	return ns, err
}

// floorCourse is a connection to the service under one floor program alone.
func (b *bench) floorCourse(name string, p *pod, arrives netip.AddrPort) (course, error) {
	h, err := b.floors.hook(name)
	return course{
		name: name, set: hooks{h}, counted: h.prog, pod: p, to: service,
		arrives: []netip.AddrPort{arrives},
	}, err
}

// measureRuns adds the figures of connect4 per run. It is called twice: with
// nothing configured, and with the service configured.
func (b *bench) measureRuns(configured bool) error {
	ours, err := b.hooks.program("sockconn4")
	if err != nil {
		return err
	}
	our := func(name string, p *pod, to netip.AddrPort, arrives ...netip.AddrPort) course {
		return course{name: name, set: b.hooks, counted: ours.prog, pod: p, to: to, arrives: arrives}
	}
	floor := map[string]course{}
	for _, name := range []string{"floor_return", "floor_lookup", "floor_rewrite"} {
		arrives := service
		if name == "floor_rewrite" {
			arrives = backends[0]
		}
		if floor[name], err = b.floorCourse(name, b.enrolled, arrives); err != nil {
			return err
		}
	}
	if !configured {
		out, err := perRun(b.cgroupFD, []course{
			floor["floor_lookup"], our("nothing", b.enrolled, service, service),
		})
		if err != nil {
			return err
		}
		b.report.add(row{
			Figure: "connect4, nothing configured", Unit: "ns/run", Reference: some(210), Target: some(200),
			Floor: some(median(out["floor_lookup"])), Note: "floor: one lookup of the namespace (125 when the target was set)",
		}.from(out["nothing"]))
		return nil
	}

	outsider := floor["floor_return"]
	outsider.pod = b.outside
	out, err := perRun(b.cgroupFD, []course{
		floor["floor_rewrite"], our("hit", b.enrolled, service, backends...),
		outsider, our("outside", b.outside, service, service),
		floor["floor_lookup"], our("address", b.enrolled, otherIP, otherIP),
		our("port", b.enrolled, nothing, nothing),
	})
	if err != nil {
		return err
	}
	lookup := some(median(out["floor_lookup"]))
	b.report.add(
		row{
			Figure: "connect4, a hit", Unit: "ns/run", Reference: some(1650), Target: some(350),
			Floor: some(median(out["floor_rewrite"])),
			Note:  "floor: lookups of the namespace and of the address, and the rewrite (156 when the target was set); " + b.tailNote(),
		}.from(out["hit"]),
		row{
			Figure: "connect4, not enrolled", Unit: "ns/run", Reference: some(128), Target: some(135),
			Floor: some(median(out["floor_return"])), Note: "floor: only return 1 (67 when the target was set)",
		}.from(out["outside"]),
		row{Figure: "connect4, no listener on the port", Unit: "ns/run", Floor: lookup}.from(out["port"]),
		row{Figure: "connect4, a listener on the port, not at the address", Unit: "ns/run", Floor: lookup}.from(out["address"]),
	)
	return nil
}

// tailNote says what the kernel counted on tail-called programs: nothing, because
// their time is in the entry's.
func (b *bench) tailNote() string {
	progs, err := b.programs()
	if err != nil {
		return err.Error()
	}
	var entry, tails uint64
	for _, p := range progs {
		switch p.Name {
		case "sockconn4":
			entry = p.Runs
		case "filter_chain4", "filter4", "route_config4", "cluster4":
			tails += p.Runs
		}
	}
	return fmt.Sprintf("tail calls are in it: %d runs counted on sockconn4, %d on the programs it tail-calls", entry, tails)
}
