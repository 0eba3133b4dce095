// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
)

// statusReport is what status prints.
type statusReport struct {
	*loader.Status
	Store *store.Stats    `json:"store,omitempty"` // ads mode
	Usage *workload.Usage `json:"usage,omitempty"` // workload mode
	// DeniedByNone counts connections denied for want of a policy that allows them.
	DeniedByNone *uint64 `json:"denied_by_none,omitempty"` // workload mode
	// ControlPlane is the one of a live run.
	ControlPlane *controlReport `json:"control_plane,omitempty"`
	Notes        []note         `json:"notes"` // what cannot be honoured, by resource
}

type note struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	Note string `json:"note"`
}

func (c *command) status() *cli.Command {
	return &cli.Command{Name: "status", Usage: "what is loaded and attached, and how full the store is",
		Description: "Beside what is loaded: problems is what remedy repairs, run the process id of a live run, foreign lists others'\n" +
			"programs on the same hooks (hook, target, id, name; alone: it lets nobody else in), outside the processes whose\n" +
			"connections are not managed though they should be (count, examples), unowned the paths in kmesh-node's tree that\n" +
			"are not its own, unpinned what runs and no pin holds (kind, id, name).",
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
			if r.ControlPlane, err = readControl(cfg, st.Run); err != nil {
				return err
			}
			if cfg.Mode == loader.Workload {
				err = c.withWorkloads(ctx, r.readWorkloads)
			} else {
				err = c.withStore(ctx, "status", func(s *store.Store, _ *loader.Handles) error { return r.readStore(s) })
			}
			// Of maps that another build laid out otherwise the problems tell.
			if err != nil && !errors.Is(err, loader.ErrLayout) {
				return err
			}
			return c.print(ctx, r, func(w io.Writer) error { return r.text(w) })
		})}
}

// readStore reads how full the store of ads mode is, and the notes of all resources.
func (r *statusReport) readStore(s *store.Store) error {
	used, err := s.Stats()
	if err != nil {
		return storeError("status", err)
	}
	r.Store = &used
	for _, k := range config.Kinds() {
		all, err := s.List(k)
		if err != nil {
			return storeError("status", err)
		}
		for _, m := range all {
			n, ok := m.(interface{ GetNotes() []string })
			if !ok {
				continue
			}
			for _, t := range n.GetNotes() {
				r.Notes = append(r.Notes, note{k.String(), config.NameOf(m), t})
			}
		}
	}
	return nil
}

// readWorkloads is readStore for workload mode.
func (r *statusReport) readWorkloads(s *workload.Store) error {
	used, err := s.Stats()
	if err != nil {
		return err
	}
	r.Usage = &used
	denied, err := s.DeniedByNone()
	if err != nil {
		return err
	}
	r.DeniedByNone = &denied
	if used.Unfinished {
		r.Problems = append(r.Problems, "a writer ended before its publication was whole")
	}
	services, err := s.Services()
	if err != nil {
		return err
	}
	workloads, err := s.Workloads()
	if err != nil {
		return err
	}
	policies, err := s.Policies()
	if err != nil {
		return err
	}
	add := func(k workload.Kind, name string, notes []string) {
		for _, t := range notes {
			r.Notes = append(r.Notes, note{k.String(), name, t})
		}
	}
	for _, v := range services {
		add(workload.Service, v.Name, v.Notes)
	}
	for _, v := range workloads {
		add(workload.Workload, v.UID, v.Notes)
	}
	for _, v := range policies {
		add(workload.Policy, v.Name, v.Notes)
	}
	return nil
}

func (r *statusReport) text(w io.Writer) error {
	head := &table{}
	head.add("mode", r.Mode)
	head.add("release", r.Release)
	head.add("cgroup", r.Cgroup)
	managed := r.Settings.Manage
	if managed == "all" && r.Workload != nil {
		managed += "; policies hold at enrolled pods alone"
	}
	head.add("managed", managed)
	head.add("enrolled", fmt.Sprintf("%d network namespaces", r.Enrolled))
	head.add("control address", onOff(r.Settings.ControlAddress))
	if r.Workload != nil {
		addWorkload(head, r.Workload, r.Usage)
	} else {
		r.addAds(head)
	}
	head.add("map memory", fmt.Sprintf("%d KiB", r.Memory/1024))
	if r.ControlPlane != nil {
		head.add("control plane", r.ControlPlane.Text)
	}
	r.addAround(head)

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
	tables := []*table{head, progs, links, maps}
	if r.Store != nil {
		tables = append(tables, storeTable(*r.Store))
	}
	if r.Usage != nil {
		tables = append(tables, usageTable(r.Usage))
	}
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

// addAround adds what is beside the data plane and should not be.
func (r *statusReport) addAround(head *table) {
	for _, p := range r.Problems {
		head.add("PROBLEM", p+"; "+r.Remedy)
	}
	for _, f := range r.Foreign {
		what := fmt.Sprintf("program %d %s of another's at %s of %s", f.ID, f.Name, f.Hook, f.Target)
		if f.Alone {
			what += ", which lets nobody else in"
		}
		head.add("FOREIGN", what+"; see: bpftool prog show id "+fmt.Sprint(f.ID))
	}
	if o := r.Outside; o != nil {
		head.add("OUTSIDE", fmt.Sprintf("%d processes are not in the cgroup, so their connections are not managed: %s; "+
			"start them below it, or: up --cgroup2-path of a cgroup above", o.Count, strings.Join(o.Examples, ", ")))
	}
	for _, p := range r.Unowned {
		head.add("UNOWNED", p+" is not of kmesh-node, and keeps down from removing its tree; move it elsewhere")
	}
	for _, u := range r.Unpinned {
		head.add("UNPINNED", fmt.Sprintf("%s %d %s is of kmesh-node and not pinned: another process holds it", u.Kind, u.ID, u.Name))
	}
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// addAds adds what only ads mode has.
func (r *statusReport) addAds(head *table) {
	s := &r.Settings
	outlier := "off"
	if s.OutlierDetection {
		outlier = fmt.Sprintf("after %d failures in a row, for %v up to %v", s.OutlierFailures, s.OutlierBackoff, s.OutlierBackoffMax)
	}
	head.add("connect result", fmt.Sprintf("%s: %s", r.ConnectRet.Variant, r.ConnectRet.Why))
	head.add("outlier detection", outlier)
	head.add("rare events", fmt.Sprintf("%d restarts, %d overtaken, %d uncounted, %d with every endpoint ejected",
		r.Rare.Restarts, r.Rare.Overtaken, r.Rare.Uncounted, r.Rare.AllEjected))
}

// addWorkload adds what only workload mode has.
func addWorkload(head *table, w *loader.WorkloadStatus, u *workload.Usage) {
	traffic := "judged"
	if w.NodeTraffic == "exempt" {
		l := make([]string, len(w.Exempt))
		for i, a := range w.Exempt {
			l[i] = a.String()
		}
		traffic = "exempt from authorization: " + strings.Join(l, " ")
	}
	locality := w.Locality
	switch {
	case locality == "" && u != nil && u.Locality != "":
		locality = u.Locality + ", by its workloads"
	case locality == "":
		locality = "not known yet"
	}
	head.add("node", w.NodeName)
	head.add("locality", locality)
	head.add("node's own traffic", traffic)
	head.add("waypoint port", w.WaypointPort)
	head.add("xdpauth", w.XDPMode)
	head.add("verdicts kept", w.FlowEntries)
	head.add("policy slots", w.PolicySlots)
	head.add("room for workloads", w.Workloads)
	r := &w.Rare
	head.add("rare events", fmt.Sprintf("%d read again, %d given up, %d without metadata, %d with early data, %d silent at a waypoint, "+
		"%d packets not parsed, %d events lost, %d of the node let in", r.Reread, r.Unsealed, r.NoWaypoint, r.EarlyData, r.Silent,
		r.Unparsed, r.LostEvents, r.Exempted))
}

func usageTable(u *workload.Usage) *table {
	t := &table{head: []string{"USE", "USED", "LIMIT"}}
	t.add("services", u.Services, "")
	t.add("workloads", u.Workloads, "")
	t.add("policies", u.Policies, "")
	for _, m := range u.Maps {
		t.add(m.Map, m.Entries, m.Capacity)
	}
	t.add("generation", u.Generation, "")
	return t
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
