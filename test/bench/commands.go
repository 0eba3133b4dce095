// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	upRounds      = 15
	applyRounds   = 5 // of those, how many also apply the large capture
	versionRounds = 25
)

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// walls and cpus are the times of several runs in ms.
func walls(runs []ran) []float64 {
	var ms []float64
	for _, r := range runs {
		ms = append(ms, millis(r.wall))
	}
	return ms
}

func cpus(runs []ran) []float64 {
	var ms []float64
	for _, r := range runs {
		ms = append(ms, millis(r.cpu))
	}
	return ms
}

// measureCommands adds what a person or a unit waits for, and what an empty data
// plane holds.
func (b *bench) measureCommands() error {
	large := filepath.Join(b.captures, "scale-1000")
	_, missing := os.Stat(large)
	var up, apply []ran
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
			if err := b.measureEmpty(); err != nil {
				return err
			}
		}
		if i < applyRounds && missing == nil {
			r, err := b.node("apply", "-f", large)
			if err != nil {
				return err
			}
			apply = append(apply, r)
		}
	}
	b.report.add(row{
		Figure: "up, ads, to all attached, wall", Unit: "ms", Reference: some(173), Target: some(60),
		Note: fmt.Sprintf("from start to exit of the command, from nothing pinned, %d times; %.0f ms of CPU time",
			upRounds, median(cpus(up))),
	}.from(walls(up)))

	scale := row{Figure: "apply of scale-1000, whole command", Unit: "ms", Target: some(250)}
	if missing != nil {
		scale.Error = fmt.Sprintf("capture is not there: %v; name its folder with -captures", missing)
	} else {
		scale.Note = fmt.Sprintf("1 000 services of 10 endpoints into an empty store; %.0f ms of CPU time", median(cpus(apply)))
		scale = scale.from(walls(apply))
	}
	b.report.add(scale)
	return b.measureBinary()
}

func (b *bench) measureBinary() error {
	path := filepath.Join(b.build, "kmesh-node")
	var version []ran
	for range versionRounds {
		r, err := runCommand(exec.Command(path, "version"))
		if err != nil {
			return err
		}
		version = append(version, r)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	b.report.add(
		row{Figure: "version, wall", Unit: "ms", Target: some(20)}.from(walls(version)),
		row{
			Figure: "binary, static, stripped", Unit: "MB", Reference: some(183), Target: some(25),
			Ours: some(float64(info.Size()) / 1e6),
		},
	)
	return nil
}
