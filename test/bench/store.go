// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	initRounds       = 7
	bursts           = 10
	sustainedSeconds = 10
	restored         = 10000 // clusters
	restoredSize     = 10    // endpoints in each
)

// A storeFigure is one line of what bench_store prints; each kind has some of
// the fields.
type storeFigure struct {
	Figure      string  `json:"figure"`
	Micros      float64 `json:"us"`
	PerSecond   float64 `json:"per_second"`
	CPUMicros   float64 `json:"cpu_us"`       // of one update, all threads
	CPUShare    float64 `json:"cpu_share"`    // of one CPU
	WaitedShare float64 `json:"waited_share"` // of the time, in updates
	Slowest     float64 `json:"slowest_us"`   // update
	Slabs       float64 `json:"slabs"`
	Pending     float64 `json:"slots_pending"`
	Descriptors float64 `json:"descriptors"`
}

// benchStore runs the C store's own figures under the hand-off, in a process of
// its own, and returns what it printed by figure.
func (b *bench) benchStore(args ...string) (map[string][]storeFigure, error) {
	command := append([]string{"exec", "--", filepath.Join(b.build, "test", "bench_store")}, args...)
	r, err := b.node(command...)
	if err != nil {
		return nil, err
	}
	out := map[string][]storeFigure{}
	for lines := bufio.NewScanner(strings.NewReader(r.out)); lines.Scan(); {
		var f storeFigure
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return nil, fmt.Errorf("read bench_store's %q: %w", lines.Text(), err)
		}
		out[f.Figure] = append(out[f.Figure], f)
	}
	return out, nil
}

// measureStore adds the figures of the C store, each in a process that opens it
// from its environment as any other would.
func (b *bench) measureStore() error {
	empty := row{Figure: "deserial_init, empty", Unit: "ms", Reference: some(8500), Target: some(30)}
	held := row{Figure: "descriptors held by the store", Reference: some(32767), Target: some(32)}
	first, last, err := b.initTimes(true)
	if err != nil {
		return err
	}
	held.Ours = some(last.Descriptors)
	b.report.add(empty.from(first))

	for _, c := range []struct{ endpoints, reference, target float64 }{
		{1, 26800, 200000}, {10, 12700, 120000}, {50, 3850, 40000},
	} {
		if err := b.measureUpdates(c.endpoints, c.reference, c.target); err != nil {
			return err
		}
	}

	if err := b.fresh(b.enrolled); err != nil {
		return err
	}
	if _, err := b.benchStore("fill", strconv.Itoa(restored), strconv.Itoa(restoredSize)); err != nil {
		return err
	}
	full, last, err := b.initTimes(false)
	if err != nil {
		return err
	}
	held.Ours = some(max(*held.Ours, last.Descriptors))
	held.Note = fmt.Sprintf("the larger of empty and with %d clusters in %.0f slabs", restored, last.Slabs)
	b.report.add(row{
		Figure: fmt.Sprintf("deserial_init, restoring %d clusters of %d endpoints", restored, restoredSize),
		Unit:   "ms", Reference: some(8500), Target: some(200),
	}.from(full), held)
	return nil
}

// initTimes opens the store again and again, in new processes; with anew on a new
// and empty store each time. Times in ms.
func (b *bench) initTimes(anew bool) (times []float64, last storeFigure, err error) {
	for range initRounds {
		if anew {
			if err := b.fresh(b.enrolled); err != nil {
				return nil, last, err
			}
		}
		out, err := b.benchStore("init")
		if err != nil {
			return nil, last, err
		}
		if len(out["init"]) == 0 || len(out["stats"]) == 0 {
			return nil, last, fmt.Errorf("bench_store printed no figure of init")
		}
		times = append(times, out["init"][0].Micros/1000)
		last = out["stats"][0]
	}
	return times, last, nil
}

func (b *bench) measureUpdates(endpoints, reference, target float64) error {
	size := strconv.Itoa(int(endpoints))
	if err := b.fresh(b.enrolled); err != nil {
		return err
	}
	out, err := b.benchStore("burst", size, strconv.Itoa(bursts))
	if err != nil {
		return err
	}
	var rates, cpu []float64
	for _, f := range out["burst"] {
		rates, cpu = append(rates, f.PerSecond), append(cpu, f.CPUMicros)
	}
	b.report.add(row{
		Figure: "Cluster updates, " + size + " endpoints, bursts of 10 000", Unit: "1/s",
		Reference: &reference, Target: &target, AtLeast: true,
		Note: fmt.Sprintf("%.1f us of CPU time for an update", median(cpu)),
	}.from(rates))

	out, err = b.benchStore("sustained", size, strconv.Itoa(sustainedSeconds))
	if err != nil {
		return err
	}
	if len(out["sustained"]) == 0 || len(out["stats"]) == 0 {
		return fmt.Errorf("bench_store printed no sustained figure")
	}
	f := out["sustained"][0]
	b.report.add(row{
		Figure: fmt.Sprintf("Cluster updates, %s endpoints, sustained %d s", size, sustainedSeconds), Unit: "1/s",
		Reference: &reference, Ours: &f.PerSecond, Note: bound(f, out["stats"][0], median(rates)),
	})
	return nil
}

// bound says what a sustained rate was limited by.
func bound(f, stats storeFigure, burst float64) string {
	why := "the processor"
	if f.WaitedShare > 0.05 {
		why = "waiting for readers to leave retired nodes"
	}
	return fmt.Sprintf("bound by %s: %.0f %% of one CPU, %.1f %% of the time in waits, slowest update %.1f ms, %.0f slabs, %.0f slots awaiting reuse at the end; %.2f of the burst rate",
		why, f.CPUShare*100, f.WaitedShare*100, f.Slowest/1000, stats.Slabs, stats.Pending, f.PerSecond/burst)
}
