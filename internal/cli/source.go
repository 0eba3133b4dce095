// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/keeper"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/loader"
)

// source is the configuration of --config: files and directories that are in force as
// they are. What a path held before and holds no longer goes away; what came by other
// ways stays. A directory without files holds nothing. A path that is not there says
// nothing: what it held stays.
type source struct {
	cfg   *loader.Config
	maps  *keeper.Keeper
	paths []string
	held  holdings // in force
	told  []string // warnings and notes of the last time
	err   error    // of the last time
}

// reading is what the files say.
type reading struct {
	docs    []xds.Document
	holds   holdings
	missing []string
}

func newSource(cfg *loader.Config, maps *keeper.Keeper, paths []string) *source {
	return &source{cfg: cfg, maps: maps, paths: paths, held: holdings{}}
}

// read reads and checks the files, without any effect.
func (s *source) read() (*reading, error) {
	if err := s.recall(); err != nil {
		return nil, err
	}
	r := &reading{holds: holdings{}}
	for _, p := range s.paths {
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			r.missing = append(r.missing, p)
			r.holds[p] = s.held[p]
			continue
		}
		docs, err := xds.Load([]string{p}, nil)
		if err != nil && !errors.Is(err, xds.ErrNoFiles) {
			return nil, err
		}
		r.docs = append(r.docs, docs...)
		r.holds[p] = []xds.Name{}
		for i := range docs {
			r.holds[p] = append(r.holds[p], docs[i].Names(workload.NameOf)...)
		}
	}
	if s.cfg.Mode == loader.Workload {
		return r, workload.Check(r.docs)
	}
	_, err := xds.Translate(r.docs, nil, xds.Options{})
	return r, err
}

// apply brings what the files say into force, all of it or nothing, and logs what it did.
func (s *source) apply() {
	if len(s.paths) == 0 {
		return
	}
	did, err := s.change(nil)
	switch {
	case err != nil && (s.err == nil || s.err.Error() != err.Error()):
		s.cfg.Log.WithError(err).Error("configuration not changed, what was in force stays")
	case err == nil && (s.err != nil || did.changes() > 0):
		s.cfg.Log.Infof("configuration in force: %s", did)
	}
	s.err = err
}

// configure is apply for maps that are not in use yet: the other mode is, until they
// have the configuration. So what is wrong ends the change of mode.
func (s *source) configure(h *loader.Handles) error {
	if len(s.paths) == 0 {
		return nil
	}
	_, err := s.change(h)
	return err
}

// change reads, publishes and writes down; h nil: to the maps that are pinned.
func (s *source) change(h *loader.Handles) (outcome, error) {
	r, err := s.read()
	if err != nil {
		return outcome{}, err
	}
	// Until the end both count, for whoever comes after a kill.
	if err := s.remember(s.held.with(r.holds)); err != nil {
		return outcome{}, err
	}
	docs := append(xds.Removal("what --config held before", s.held.without(r.holds)), r.docs...)
	did, err := s.publish(h, docs)
	if err != nil {
		return outcome{}, errors.Join(err, s.remember(s.held))
	}
	for _, p := range r.missing {
		did.remarks = append(did.remarks, p+" is not there: what it held stays")
	}
	s.remark(did.remarks)
	s.held = r.holds
	return did, s.remember(s.held)
}

// publish applies docs as one change.
func (s *source) publish(h *loader.Handles, docs []xds.Document) (did outcome, err error) {
	switch {
	case len(docs) == 0:
		return outcome{}, nil
	case h == nil:
		return s.publishIn(s.maps, docs)
	}
	err = s.maps.Aside(func() (err error) {
		k := keeper.Over(s.cfg, h)
		defer func() { err = errors.Join(err, storeError("apply", k.Close())) }()
		did, err = s.publishIn(k, docs)
		return err
	})
	return did, err
}

func (s *source) publishIn(maps *keeper.Keeper, docs []xds.Document) (did outcome, err error) {
	if s.cfg.Mode == loader.Workload {
		err = maps.Workload(func(st *workload.Store, _ *loader.Handles) (err error) {
			did, err = publishWorkloads(st, docs)
			return err
		})
		return did, err
	}
	err = maps.Ads(func(st *store.Store, _ *loader.Handles) (err error) {
		did, err = publishTo(st, docs)
		return err
	})
	return did, storeError("apply", err)
}

func publishTo(st *store.Store, docs []xds.Document) (did outcome, err error) {
	err = st.Update(func() ([]store.Op, error) {
		r, err := xds.Translate(docs, st, xds.Options{})
		if err != nil {
			return nil, err
		}
		did = outcome{remarks: slices.Concat(r.Warnings, r.Notes)}
		for _, k := range config.Kinds() {
			did.add(r.Counts[k])
		}
		if did.changes() == 0 {
			return nil, nil
		}
		return r.Ops, nil
	})
	return did, storeError("apply", err)
}

func publishWorkloads(st *workload.Store, docs []xds.Document) (did outcome, err error) {
	r, err := st.Apply(docs, false)
	if err != nil {
		return outcome{}, err
	}
	for _, k := range workload.Kinds() {
		did.add(r.Counts[k])
	}
	did.remarks = slices.Concat(r.Warnings, r.Notes)
	return did, nil
}

// remark logs what the last time did not have.
func (s *source) remark(all []string) {
	for _, text := range all {
		if !slices.Contains(s.told, text) {
			s.cfg.Log.Warnf("configuration: %s", text)
		}
	}
	s.told = all
}

// settled says that another try would end the same way until the files are others.
func (s *source) settled() bool { return s.err == nil || exit.Code(s.err) == exit.Rejected }

// outcome is what a change did, and what there is to say about it.
type outcome struct {
	xds.Count
	remarks []string // warnings and notes
}

func (o *outcome) add(c xds.Count) {
	o.Updated += c.Updated
	o.Deleted += c.Deleted
	o.Unchanged += c.Unchanged
}

func (o outcome) changes() int { return o.Updated + o.Deleted }

func (o outcome) String() string {
	return fmt.Sprintf("%d updated, %d deleted, %d unchanged", o.Updated, o.Deleted, o.Unchanged)
}

// String says in a few words what is in force.
func (s *source) String() string {
	switch {
	case len(s.paths) == 0:
		return "no --config"
	case s.err != nil:
		first, _, _ := strings.Cut(s.err.Error(), "\n")
		return fmt.Sprintf("configuration of %d resources as before: %s", s.held.count(), xds.Clip(first))
	}
	return fmt.Sprintf("configuration of %d resources", s.held.count())
}
