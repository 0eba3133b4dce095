// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

const (
	churnEnv   = "CHURN" // how many pushes; 100000 are those of a day
	churnUsual = 10000
	churnWarm  = 2000 // pushes before what is in use is looked at first
)

// holds is what a run and the maps hold.
type holds struct {
	rss         uint64
	descriptors int
	maps        int
	memory      uint64 // of the maps
}

// heldBy waits until the run is done: what a publication gave up goes behind its back.
func (b *bench) heldBy(l *live) (h holds, err error) {
	if _, _, err := b.settle(l); err != nil {
		return h, err
	}
	if h.rss, err = l.status("VmRSS"); err != nil {
		return h, err
	}
	if h.descriptors, err = l.descriptors(); err != nil {
		return h, err
	}
	sizes, err := b.maps()
	h.maps = len(sizes)
	for _, size := range sizes {
		h.memory += size
	}
	return h, err
}

// measureChurn adds what grows where one endpoint after the other changes for long.
func (b *bench) measureChurn() (err error) {
	pushes := churnUsual
	if v := os.Getenv(churnEnv); v != "" {
		if pushes, err = strconv.Atoi(v); err != nil || pushes < 1 {
			return fmt.Errorf("%s=%s is no count of pushes", churnEnv, v)
		}
	}
	f, err := newFleet(b.mode, smallFleet)
	if err != nil {
		return err
	}
	l, _, err := b.syncLive(f, "delta")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	n := 0
	churn := func(pushes int) error {
		for range pushes {
			// Each service in turn, and another address each time round.
			r, err := f.change(b.mode, n%f.Services, n%f.Services+f.Services*(n/f.Services%50))
			if err == nil {
				err = l.push(r)
			}
			if err != nil {
				return fmt.Errorf("push %d: %w", n, err)
			}
			n++
		}
		return nil
	}
	if err := churn(churnWarm); err != nil {
		return err
	}
	before, err := b.heldBy(l)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := churn(pushes); err != nil {
		return err
	}
	took := time.Since(start)
	after, err := b.heldBy(l)
	if err != nil {
		return err
	}
	b.report.add(
		row{Figure: fmt.Sprintf("churn, %s pushes: growth of RSS of run", grouped(int64(pushes))), Unit: "MB",
			Ours: some(float64(int64(after.rss)-int64(before.rss)) / 1e6), Target: some(5),
			Note: fmt.Sprintf("%.1f to %.1f MB in %.0f s, one endpoint of 1 000 services each, all acknowledged; collected garbage comes and goes; %s=N sets how many",
				float64(before.rss)/1e6, float64(after.rss)/1e6, took.Seconds(), churnEnv)},
		row{Figure: "the same: growth of descriptors of run", Ours: some(float64(after.descriptors - before.descriptors)), Target: some(0)},
		row{Figure: "the same: growth of maps, inner ones included", Ours: some(float64(after.maps - before.maps)), Target: some(0),
			Note: fmt.Sprintf("%d maps of %.1f MB", after.maps, float64(after.memory)/1e6)},
		row{Figure: "the same: growth of memory of maps", Unit: "MB", Ours: some((float64(after.memory) - float64(before.memory)) / 1e6), Target: some(0)},
		row{Figure: "pushes of one endpoint taken per second", Ours: some(float64(pushes) / took.Seconds())},
	)
	return nil
}
