// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// flowCache is the map of verdicts, whose size is a flag's.
const flowCache = "km_flow"

// measureWorkloadCommands adds what a person or a unit waits for in workload mode,
// and what an empty data plane holds.
func (b *bench) measureWorkloadCommands() error {
	large := filepath.Join(b.ambient, "ambient-scale-10000pods")
	_, missing := os.Stat(large)
	var up, apply []ran
	var failed error // of apply; the figures of up stand without it
	for i := range upRounds {
		if _, err := b.node("down"); err != nil {
			return err
		}
		r, err := b.node("up")
		if err != nil {
			return err
		}
		up = append(up, r)
		if i == 0 {
			if err := b.measureWorkloadEmpty(); err != nil {
				return err
			}
		}
		if i < applyRounds && missing == nil && failed == nil {
			r, failed = b.node("apply", "-f", large)
			apply = append(apply, r)
		}
	}
	b.report.add(row{
		Figure: "up, workload, to all attached, wall", Unit: "ms", Reference: some(1829), Target: some(80),
		Note: fmt.Sprintf("from start to exit of the command, from nothing pinned, %d times; %.0f ms of CPU time",
			upRounds, median(cpus(up))),
	}.from(walls(up)))
	scale := row{Figure: "apply of ambient-scale-10000pods, whole command", Unit: "ms", Target: some(1000)}
	switch {
	case missing != nil:
		scale.Error = fmt.Sprintf("capture is not there: %v; name its folder with -ambient", missing)
	case failed != nil:
		scale.Error = failed.Error()
	default:
		scale.Note = fmt.Sprintf("1 000 services and 10 000 workloads into empty maps; %.0f ms of CPU time", median(cpus(apply)))
		scale = scale.from(walls(apply))
	}
	b.report.add(scale)
	return nil
}

// measureWorkloadEmpty adds what `up` leaves in the kernel before anything is configured.
func (b *bench) measureWorkloadEmpty() error {
	sizes, err := b.maps()
	if err != nil {
		return err
	}
	flows, entries, err := b.pinnedMap(flowCache)
	if err != nil {
		return err
	}
	var total uint64
	for _, size := range sizes {
		total += size
	}
	progs, err := b.programs()
	if err != nil {
		return err
	}
	largest := largestOf(progs)
	b.report.add(
		row{
			Figure: "kernel memory of all maps, empty, without the flow cache", Unit: "MB", Reference: some(78.8), Target: some(4),
			Ours: some(float64(total-flows) / 1e6),
			Note: fmt.Sprintf("%d maps, the programs' own data included; the flow cache has %d entries by default, %.1f MB, %.0f bytes a flow",
				len(sizes), entries, float64(flows)/1e6, float64(flows)/float64(entries)),
		},
		row{
			Figure: "largest program, verified instructions", Reference: some(976549), Target: some(20000),
			Ours: some(float64(largest.Verified)), Note: fmt.Sprintf("%s, of %d programs", largest.Name, len(progs)),
		},
	)
	return nil
}

// pinnedMap returns the memory, in bytes, and the entries of a pinned map.
func (s *sandbox) pinnedMap(name string) (bytes uint64, entries uint32, err error) {
	fd, err := openPin(filepath.Join(s.pins("map"), name))
	if err != nil {
		return 0, 0, err
	}
	defer closeFD(fd)
	if _, bytes, err = mapMemory(fd); err != nil {
		return 0, 0, err
	}
	_, entries, err = mapType(fd)
	return bytes, entries, err
}
