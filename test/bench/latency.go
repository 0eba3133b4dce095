// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
)

const (
	latencyRounds = 60
	latencyLength = 1000 // connections in each block of a round
)

// A variant is a set of programs under which connect() is timed, and where the
// application asks for. Redirected connections arrive at several addresses,
// which costs TCP itself more than one address does: so without redirection the
// application asks for those same addresses in turn.
type variant struct {
	set    hooks
	to     []netip.AddrPort
	events *reader // of what the programs report; nil: nobody
}

// p50s returns, for each variant, the median connect() of each round in us. Each
// round has one block for every variant, in an order that rotates.
func (b *bench) p50s(variants []variant) ([][]float64, error) {
	out := make([][]float64, len(variants))
	for i := range latencyRounds {
		for j := range variants {
			k := (i + j) % len(variants)
			us, err := b.p50(variants[k])
			if err != nil {
				return nil, err
			}
			out[k] = append(out[k], us)
		}
	}
	return out, nil
}

func (b *bench) p50(v variant) (us float64, err error) {
	detach, err := v.set.attach(b.cgroupFD)
	if err != nil {
		return 0, err
	}
	defer detach()
	err = v.events.follow(func() error {
		return b.enrolled.inside(func() error {
			if _, err := b.enrolled.connect(warmUp, v.to...); err != nil {
				return err
			}
			a, err := b.enrolled.connect(latencyLength, v.to...)
			if err != nil {
				return err
			}
			us = float64(median(a.nanos)) / 1000
			return a.expect(backends...)
		})
	})
	return us, err
}

// floorHooks are floor programs, on the hooks that kmesh-node uses.
func (b *bench) floorHooks(names ...string) (hooks, error) {
	var set hooks
	for _, name := range names {
		h, err := b.floors.hook(name)
		if err != nil {
			return nil, err
		}
		set = append(set, h)
	}
	return set, nil
}

// baseNote warns where connections without any program of the benchmark's meet the
// kernel's hooks switched on: the base is slower then, and what is added to it less.
func baseNote() string {
	if n := switchedOn(); n > 0 {
		return fmt.Sprintf("; %d links of others on cgroups switched the hooks on for the base too: it is slower, and the floor too low", n)
	}
	return ""
}

// measureLatency adds what connect() of a redirected connection takes longer than
// without any program, beside what return-only programs on the same hooks add.
func (b *bench) measureLatency() error {
	floor, err := b.floorHooks("floor_return", "floor_sockops", "floor_state")
	if err != nil {
		return err
	}
	asked := []netip.AddrPort{service}
	variants := []variant{{to: backends}, {set: floor, to: backends}, {set: b.hooks, to: asked}}
	if b.rivals != nil {
		variants = append(variants, variant{set: b.rivals, to: asked})
	}
	out, err := b.p50s(variants)
	if err != nil {
		return err
	}
	least, ours := apart(out[1], out[0]), apart(out[2], out[0])
	bound := 1.4 * median(least)
	b.report.add(
		row{Figure: "connect() p50, no BPF", Unit: "us", Reference: some(12)}.from(out[0]),
		row{Figure: "added to connect() p50, return-only programs", Unit: "us", Reference: some(1)}.from(least),
		row{
			Figure: "added to connect() p50", Unit: "us", Reference: some(2.1), Floor: some(median(least)), Target: &bound,
			Note: fmt.Sprintf("%.2f times the floor, the target is 1.4 times; %d rounds of %d connections each way%s",
				median(ours)/median(least), latencyRounds, latencyLength, baseNote()),
		}.from(ours),
	)
	if b.rivals != nil {
		b.report.add(row{
			Figure: "added to connect() p50, of " + b.against, Unit: "us", Floor: some(median(least)),
		}.from(apart(out[3], out[0])))
	}
	return nil
}
