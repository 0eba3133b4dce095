// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/admin"
	"github.com/kmesh-net/kmesh-node/internal/metrics"
	"github.com/kmesh-net/kmesh-node/internal/served"
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

// newGroups are the groups. One that has to wait too long leaves the others alone.
func (a *adminPart) newGroups() []*scraped {
	l := []*scraped{{name: "ready"}, {name: "maps"}}
	for i, read := range []func() found{a.readReady, a.readMaps} {
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
		}
		if f.put != nil {
			f.put(s)
		}
	}
	return s
}

func (a *adminPart) readReady() found {
	why, err := a.look.Get(context.Background())
	return found{func(s *metrics.Snapshot) { s.Looked, s.Reasons = err == nil, why }, err}
}

// readMaps reads what goes by the keeper, in one go: without a control plane it opens
// the maps anew each time. Of what is unreadable the rest is told all the same.
func (a *adminPart) readMaps() found {
	var m fromMaps
	err := a.d.datalog.scraped()
	if err != nil {
		return found{err: err}
	}
	if a.d.cfg.Mode == loader.Workload {
		m, err = a.readWorkload()
	} else {
		err = a.d.keeper.Ads(func(st *store.Store, h *loader.Handles) error {
			m = fromMaps{}
			f, err := st.Stats()
			if err == nil {
				m.store = &f
			}
			l, servedErr := st.Services()
			m.services, m.served = l, servedErr == nil
			return errors.Join(err, servedErr, m.readKernel(h))
		})
	}
	var policies, services *metrics.Rows
	if m.workload != nil {
		r := a.policies.Split(metrics.PolicyRows(m.workload))
		policies = &r
	}
	if m.served {
		r := a.services.Split(metrics.ServiceRows(m.services))
		services = &r
	}
	return found{func(s *metrics.Snapshot) {
		s.Kernel, s.Counting, s.Store, s.Workload = m.kernel, m.counting, m.store, m.workload
		s.Policies, s.Services = policies, services
	}, err}
}

// readWorkload reads what messages say only after a publication.
func (a *adminPart) readWorkload() (m fromMaps, err error) {
	read := func(h *loader.Handles) error {
		m = fromMaps{}
		f, err := a.figures.Figures(h.FD)
		if err == nil {
			m.workload, m.services, m.served = f, f.Served, true
		}
		return errors.Join(err, m.readKernel(h))
	}
	current := false
	err = a.d.keeper.Handles(func(h *loader.Handles) (err error) {
		if current, err = a.figures.Current(h.FD); current {
			err = read(h)
		}
		return err
	})
	if err != nil || current {
		return m, err
	}
	err = a.d.keeper.Workload(func(w *workload.Store, h *loader.Handles) error {
		if err := a.figures.Learn(w); err != nil {
			return errors.Join(err, m.readKernel(h))
		}
		return read(h)
	})
	return m, err
}

// fromMaps is what readMaps found; nil, or served false: it could not be read.
type fromMaps struct {
	kernel   *loader.Status
	counting bool
	store    *store.Stats
	workload *workload.Figures
	services []served.Counters
	served   bool
}

func (m *fromMaps) readKernel(h *loader.Handles) (err error) {
	if m.kernel, err = h.Figures(); err == nil {
		m.counting, err = loader.ProgramStats()
	}
	return err
}
