// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/admin"
	"github.com/kmesh-net/kmesh-node/internal/metrics"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
)

// scraped is one group of what a scrape reads. The parts of a snapshot that it found, it
// puts there by found.
type scraped struct {
	name   string
	shared admin.Shared[found]
}

type found struct {
	put func(*metrics.Snapshot)
	err error
}

// newGroups are the groups. They wait for each other where they need the keeper, and a
// group that has to wait too long leaves the others alone.
func (a *adminPart) newGroups() []*scraped {
	l := []*scraped{{name: "ready"}, {name: "kernel"}, {name: "configuration"}}
	for i, read := range []func() found{a.readReady, a.readKernel, a.readConfiguration} {
		l[i].shared.Read = read
	}
	return l
}

// snapshot reads all groups, for as long as a scrape can wait.
func (a *adminPart) snapshot() *metrics.Snapshot {
	s := &metrics.Snapshot{Version: version, Commit: commit, Mode: a.d.cfg.Mode, Loop: a.d.pulse.state()}
	if a.d.live != nil {
		st := a.d.live.client.State()
		s.XDS = &st
	}
	ctx, cancel := context.WithTimeout(context.Background(), mapsTime)
	defer cancel()
	s.Groups = make([]metrics.Group, len(a.groups))
	got := make([]found, len(a.groups))
	var wg sync.WaitGroup
	for i, r := range a.groups {
		wg.Go(func() {
			start := time.Now()
			f, err := r.shared.Get(ctx)
			if err != nil {
				f = found{err: errBusy}
			}
			got[i], s.Groups[i] = f, metrics.Group{Name: r.name, Took: time.Since(start), Err: f.err}
		})
	}
	wg.Wait()
	for i, f := range got {
		if f.err != nil {
			a.d.cfg.Log.WithError(f.err).Debugf("scrape: %s", a.groups[i].name)
			continue
		}
		f.put(s)
	}
	return s
}

func (a *adminPart) readReady() found {
	why, err := a.look.Get(context.Background())
	return found{err: err, put: func(s *metrics.Snapshot) { s.Looked, s.Reasons = true, why }}
}

func (a *adminPart) readKernel() found {
	var st *loader.Status
	err := a.d.keeper.Handles(func(h *loader.Handles) (err error) {
		st, err = h.Figures()
		return err
	})
	counting, countErr := loader.ProgramStats()
	return found{func(s *metrics.Snapshot) { s.Kernel, s.Counting = st, counting }, errors.Join(err, countErr)}
}

func (a *adminPart) readConfiguration() found {
	if a.d.cfg.Mode == loader.Workload {
		var f workload.Figures
		err := a.d.keeper.Workload(func(w *workload.Store, _ *loader.Handles) (err error) {
			f, err = w.Figures()
			return err
		})
		denied := a.policies.Split(metrics.PolicyRows(&f))
		return found{func(s *metrics.Snapshot) { s.Workload, s.Policies = &f, &denied }, err}
	}
	var st store.Stats
	err := a.d.keeper.Ads(func(open *store.Store, _ *loader.Handles) (err error) {
		st, err = open.Stats()
		return err
	})
	return found{func(s *metrics.Snapshot) { s.Store = &st }, err}
}
