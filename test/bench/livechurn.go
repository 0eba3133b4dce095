// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/kmesh-net/kmesh-node/proto/security"
	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

const (
	churnEnv   = "CHURN" // how many pushes; 100000 are those of a day
	churnUsual = 10000
	churnWarm  = 2000 // pushes before what is in use is looked at first
	churnNames = 10   // with one push of so many a service of a new name comes
	churnRound = 50   // times round the services until their addresses come again
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
			list, err := f.churn(b.mode, n)
			if err != nil {
				return err
			}
			for _, r := range list {
				if err := l.push(r); err != nil {
					return fmt.Errorf("push %d: %w", n, err)
				}
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
			Note: fmt.Sprintf("%.1f to %.1f MB in %.0f s, one endpoint of 1 000 services each, a new service for an old one with every tenth, all acknowledged; collected garbage comes and goes; %s=N sets how many",
				float64(before.rss)/1e6, float64(after.rss)/1e6, took.Seconds(), churnEnv)},
		row{Figure: "the same: growth of descriptors of run", Ours: some(float64(after.descriptors - before.descriptors)), Target: some(0)},
		row{Figure: "the same: growth of maps, inner ones included", Ours: some(float64(after.maps - before.maps)), Target: some(0),
			Note: fmt.Sprintf("%d maps of %.1f MB", after.maps, float64(after.memory)/1e6)},
		row{Figure: "the same: growth of memory of maps", Unit: "MB", Ours: some((float64(after.memory) - float64(before.memory)) / 1e6), Target: some(0.01),
			Note: "entries of the last names that went may go with a later publication"},
		row{Figure: "pushes of one endpoint taken per second, beside new names", Ours: some(float64(pushes) / took.Seconds())},
	)
	return nil
}

// churn gives each service in turn another address each time round, and has a service come
// now and then that never was, while the one that came before it goes.
func (f *fleet) churn(mode string, n int) ([]controlplane.Response, error) {
	change, err := f.change(mode, n%f.Services, n%f.Services+f.Services*(n/f.Services%churnRound))
	if err != nil || n%churnNames != 0 {
		return []controlplane.Response{change}, err
	}
	n /= churnNames
	come, err := f.guest(mode, n)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		gone, err := f.guest(mode, n-1)
		if err != nil {
			return nil, err
		}
		for i, r := range gone {
			for _, res := range r.Resources {
				come[i].Removed = append(come[i].Removed, res.Name)
			}
		}
	}
	return append(come, change), nil
}

// guest is a service past those of the fleet, with one endpoint of its own; in workload
// mode with a policy.
func (f *fleet) guest(mode string, n int) ([]controlplane.Response, error) {
	i, at := f.Services+n, f.Spare(f.Services*churnRound+n)
	if mode != modeWorkload {
		return f.EnvoyOf(i, at)
	}
	all, err := f.AmbientOf(i, at)
	if err != nil {
		return nil, err
	}
	// The second one is of policies: a fleet has none.
	all[1], err = controlplane.NewResponse(controlplane.Authorization, &security.Authorization{
		Name: fmt.Sprintf("p%d", i), Namespace: "guests", Scope: security.Scope_NAMESPACE, Action: security.Action_DENY,
	})
	return all, err
}
