// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/loader"
)

// statusReport is what status prints.
type statusReport struct {
	*loader.Status
	Store store.Stats `json:"store"`
	Notes []note      `json:"notes"` // what cannot be honoured, by resource
}

type note struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	Note string `json:"note"`
}

func (c *command) status() *cli.Command {
	return &cli.Command{Name: "status", Usage: "what is loaded and attached, and how full the store is",
		Action: noArgs(func(ctx *cli.Context) error {
			cfg, err := c.config(ctx)
			if err != nil {
				return err
			}
			st, err := loader.GetStatus(cfg)
			if err != nil {
				return err
			}
			r := statusReport{Status: st, Notes: []note{}}
			err = c.withStore(ctx, "status", func(s *store.Store, _ *loader.Handles) error {
				if r.Store, err = s.Stats(); err != nil {
					return storeError("status", err)
				}
				r.Notes, err = notes(s)
				return err
			})
			if err != nil {
				return err
			}
			return c.print(ctx, r, func(w io.Writer) error { return r.text(w) })
		})}
}

// notes lists the notes of all resources.
func notes(s *store.Store) ([]note, error) {
	l := []note{}
	for _, k := range config.Kinds() {
		all, err := s.List(k)
		if err != nil {
			return nil, storeError("status", err)
		}
		for _, m := range all {
			n, ok := m.(interface{ GetNotes() []string })
			if !ok {
				continue
			}
			for _, t := range n.GetNotes() {
				l = append(l, note{k.String(), config.NameOf(m), t})
			}
		}
	}
	return l, nil
}

func (r *statusReport) text(w io.Writer) error {
	s := &r.Settings
	outlier := "off"
	if s.OutlierDetection {
		outlier = fmt.Sprintf("after %d failures in a row, for %v up to %v", s.OutlierFailures, s.OutlierBackoff, s.OutlierBackoffMax)
	}
	control := "off"
	if s.ControlAddress {
		control = "on"
	}
	head := &table{}
	head.add("mode", r.Mode)
	head.add("release", r.Release)
	head.add("cgroup", r.Cgroup)
	head.add("connect result", fmt.Sprintf("%s: %s", r.ConnectRet.Variant, r.ConnectRet.Why))
	head.add("managed", s.Manage)
	head.add("enrolled", fmt.Sprintf("%d network namespaces", r.Enrolled))
	head.add("control address", control)
	head.add("outlier detection", outlier)
	head.add("map memory", fmt.Sprintf("%d KiB", r.Memory/1024))
	head.add("rare events", fmt.Sprintf("%d restarts, %d overtaken, %d uncounted, %d with every endpoint ejected",
		r.Rare.Restarts, r.Rare.Overtaken, r.Rare.Uncounted, r.Rare.AllEjected))
	for _, p := range r.Problems {
		head.add("PROBLEM", p+"; run: kmesh-node up")
	}

	progs := &table{head: []string{"PROGRAM", "ID", "HOOK", "RUNS", "NS/RUN", "VERIFIED INSNS"}}
	for _, p := range r.Programs {
		each := "-"
		if p.RunCount > 0 {
			each = fmt.Sprint(p.RunTime / p.RunCount)
		}
		progs.add(p.Name, p.ID, p.Hook, p.RunCount, each, told(p.Verified))
	}
	links := &table{head: []string{"LINK", "ID", "TYPE", "TARGET", "PROGRAM"}}
	for _, l := range r.Links {
		target := l.Target
		if !l.Alive {
			target += " (gone)"
		}
		links.add(l.Name, l.ID, l.Type, target, l.Program)
	}
	maps := &table{head: []string{"MAP", "ID", "TYPE", "ENTRIES", "MEMORY"}}
	for _, m := range r.Maps {
		maps.add(m.Name, m.ID, m.Type, m.Entries, m.Memory)
	}
	tables := []*table{head, progs, links, maps, storeTable(r.Store)}
	if len(r.Notes) > 0 {
		n := &table{head: []string{"NOT HONOURED", "NAME", "NOTE"}}
		for _, x := range r.Notes {
			n.add(x.Kind, x.Name, strings.ReplaceAll(x.Note, "\n", " "))
		}
		tables = append(tables, n)
	}
	for i, t := range tables {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := t.print(w); err != nil {
			return err
		}
	}
	return nil
}

func storeTable(s store.Stats) *table {
	t := &table{head: []string{"STORE", "USED", "LIMIT", ""}}
	t.add("listeners", s.Listeners.Used, s.Listeners.Limit, "")
	t.add("routes", s.Routes.Used, s.Routes.Limit, fmt.Sprintf("%d referred to and not there", s.References.Routes))
	t.add("clusters", s.Clusters.Used, s.Clusters.Limit, fmt.Sprintf("%d referred to and not there", s.References.Clusters))
	t.add("counters", s.Counters.Used, s.Counters.Limit, "")
	t.add("slabs", s.Slabs.Used, s.Slabs.Limit, "")
	t.add("slots", s.Slots.Used, s.Slots.Total, fmt.Sprintf("%d free, %d waiting for readers", s.Slots.Free, s.Slots.Pending))
	t.add("generation", s.Generation, "", "")
	return t
}
