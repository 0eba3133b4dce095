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

// p50s returns, for each set of hooks, the median connect() of each round in us.
// Each round has one block for every set, in an order that rotates.
func (b *bench) p50s(sets []hooks, arrives [][]netip.AddrPort) ([][]float64, error) {
	out := make([][]float64, len(sets))
	for i := range latencyRounds {
		for j := range sets {
			k := (i + j) % len(sets)
			us, err := b.p50(sets[k], arrives[k])
			if err != nil {
				return nil, err
			}
			out[k] = append(out[k], us)
		}
	}
	return out, nil
}

func (b *bench) p50(set hooks, arrives []netip.AddrPort) (us float64, err error) {
	detach, err := set.attach(b.cgroupFD)
	if err != nil {
		return 0, err
	}
	defer detach()
	err = b.enrolled.inside(func() error {
		if _, err := b.enrolled.connect(service, warmUp); err != nil {
			return err
		}
		a, err := b.enrolled.connect(service, latencyLength)
		if err != nil {
			return err
		}
		us = float64(median(a.nanos)) / 1000
		return a.expect(arrives...)
	})
	return us, err
}

// measureLatency adds what connect() of a redirected connection takes longer than
// without any program, beside what return-only programs on the same hooks add.
func (b *bench) measureLatency() error {
	var floor hooks
	for _, name := range []string{"floor_return", "floor_sockops", "floor_state"} {
		h, err := b.floors.hook(name)
		if err != nil {
			return err
		}
		floor = append(floor, h)
	}
	asked := []netip.AddrPort{service}
	out, err := b.p50s([]hooks{nil, floor, b.hooks}, [][]netip.AddrPort{asked, asked, backends})
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
			Note: fmt.Sprintf("%.2f times the floor; the target is 1.4 times; %d rounds of %d connections each way", median(ours)/median(least), latencyRounds, latencyLength),
		}.from(ours),
	)
	return nil
}
