// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
)

const sockOps = "sock_ops"

// upWorkload brings workload mode up with the enrolled pod and the service.
func (b *bench) upWorkload() error {
	if err := b.fresh(b.enrolled); err != nil {
		return err
	}
	_, err := b.applyResponses(serviceName, benchAddresses())
	return err
}

// measureWorkloadConnect measures the connect path of workload mode: per run, and
// the time of connect() itself, while nobody reads events and while somebody does.
func (b *bench) measureWorkloadConnect() error {
	err := b.upWorkload()
	if err != nil {
		return err
	}
	if b.hooks, err = b.takeHooks(); err != nil {
		return err
	}
	events, err := b.newReader()
	if err != nil {
		return err
	}
	defer events.close()
	if err := b.measureWorkloadRuns(events); err != nil {
		return err
	}
	return b.measureWorkloadLatency(events)
}

func (b *bench) measureWorkloadRuns(events *reader) error {
	rewrite, err := b.floorCourse(b.enrolled, backends[0], "floor_rewrite", "floor_sockops", "floor_closes")
	if err != nil {
		return err
	}
	lookup, err := b.floorCourse(b.enrolled, service, "floor_lookup")
	if err != nil {
		return err
	}
	followed := b.ourCourse("followed", b.enrolled, service, backends...)
	followed.events = events
	out, err := perRun(b.cgroupFD, []course{
		rewrite, b.ourCourse("hit", b.enrolled, service, backends...),
		lookup, b.ourCourse("address", b.enrolled, otherIP, otherIP), followed,
		b.ourCourse("port", b.enrolled, nothing, nothing),
	})
	if err != nil {
		return err
	}
	rewriteFloor, lookupFloor := out["floor_rewrite"]["floor_rewrite"], out["floor_lookup"]["floor_lookup"]
	hit := connectRow("connect4, a hit", 1200, 300, out["hit"][connect4],
		rewriteFloor, 156, "lookups of the namespace and of the address, and the rewrite")
	hit.Note += fmt.Sprintf("; %.0f ns while events are read", median(out["followed"][connect4]))
	miss := connectRow("connect4, a miss", 955, 200, out["address"][connect4],
		lookupFloor, 125, "one lookup of the namespace")
	miss.Note += fmt.Sprintf("; an address that is no service's, on a service's port; on another port %.0f ns",
		median(out["port"][connect4]))
	b.report.add(hit, miss,
		sockopsRow("sock_ops, a connection opened and closed, no reader of events", 1100, 1.5,
			out["hit"], out["floor_rewrite"]),
		sockopsRow("sock_ops, a connection opened and closed, with a reader", 7700, 2,
			out["followed"], out["floor_rewrite"]))
	return nil
}

// sockopsRow is a figure of sock_ops. The floor is a return-only program over the same
// number of runs: what one run of it takes, with close events on.
func sockopsRow(figure string, reference, times float64, ours, floor map[string][]float64) row {
	var least []float64
	runs := median(ours[sockOps+runsOf])
	for i, ns := range floor["floor_sockops"] {
		least = append(least, ns/floor["floor_sockops"+runsOf][i]*runs)
	}
	r := row{
		Figure: figure, Unit: "ns", Reference: &reference,
		Floor: some(median(least)), Target: some(times * median(least)),
	}.from(ours[sockOps])
	r.Note = fmt.Sprintf("%.2f times the floor, the target is %.1f times; both ends of the connection, %.1f runs, %.1f ns each against %.1f of a return-only program",
		*r.Ours / *r.Floor, times, runs, *r.Ours/runs, *r.Floor/runs)
	return r
}

func (b *bench) measureWorkloadLatency(events *reader) error {
	floor, err := b.floorHooks("floor_return", "floor_sockops")
	if err != nil {
		return err
	}
	asked := []netip.AddrPort{service}
	openedBefore, closedBefore := events.seen()
	out, err := b.p50s([]variant{
		{to: backends}, {set: floor, to: backends},
		{set: b.hooks, to: asked}, {set: b.hooks, to: asked, events: events},
	})
	if err != nil {
		return err
	}
	opened, closed := events.seen()
	made := latencyRounds * (latencyLength + warmUp)
	least := apart(out[1], out[0])
	added := func(figure string, reference, times float64, ours []float64, note string) row {
		bound := times * median(least)
		return row{
			Figure: figure, Unit: "us", Reference: &reference, Floor: some(median(least)), Target: &bound,
			Note: fmt.Sprintf("%.2f times the floor, the target is %.1f times; %s",
				median(ours)/median(least), times, note),
		}.from(ours)
	}
	b.report.add(
		row{Figure: "connect() p50, no BPF", Unit: "us", Reference: some(12)}.from(out[0]),
		row{Figure: "added to connect() p50, return-only programs", Unit: "us", Reference: some(0.8)}.from(least),
		added("added to connect() p50, no reader of events", 2.4, 1.4, apart(out[2], out[0]),
			fmt.Sprintf("%d rounds of %d connections each way%s", latencyRounds, latencyLength, baseNote())),
		added("added to connect() p50, with a reader", 16.4, 2, apart(out[3], out[0]),
			fmt.Sprintf("of %d connections the reader saw %d opened and %d closed%s",
				made, opened-openedBefore, closed-closedBefore, baseNote())),
	)
	return nil
}
