// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"
	"strings"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/endpoint"
)

// clusterEntry is what becomes of a Cluster: gone without a message.
type clusterEntry struct {
	msg     *cluster.Cluster
	sockets *sockets // nil: not known
	labels  labels   // of the endpoints that came in this batch
	seq     int      // document that its endpoints came with, 0: none did
	held    bool     // it is the store's, with other endpoints
}

// assignmentEntry is what becomes of the endpoints of that name: without a message,
// there are none.
type assignmentEntry struct {
	newAssignment
	seq int
	own bool
}

// assigned gives the cluster other endpoints, and the notes about them.
func (e *clusterEntry) assigned(n *newAssignment, seq int) {
	e.msg.LoadAssignment = n.msg
	e.labels, e.seq = n.labels, seq
	e.msg.Notes = slices.DeleteFunc(slices.Clone(e.msg.Notes), isAboutEndpoints)
	e.msg.Notes = append(e.msg.Notes, n.notes...)
}

func isAboutEndpoints(note string) bool { return strings.HasPrefix(note, aboutEndpoints) }

// ServiceName is the name under which endpoints come for c, "" where none do.
func ServiceName(c *cluster.Cluster) string {
	switch {
	case c.GetDiscoveryType() != cluster.Cluster_EDS:
		return ""
	case c.GetEdsServiceName() != "":
		return c.GetEdsServiceName()
	}
	return c.GetName()
}

func (b *batch) finishClusters() error {
	if err := b.mergeAssignments(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(b.clusters)) {
		old, err := clusterOf(b.cur, name)
		if err != nil {
			return err
		}
		if err := b.finishCluster(name, b.clusters[name], old); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) finishCluster(name string, e *clusterEntry, old *cluster.Cluster) error {
	if e.msg == nil {
		if old != nil {
			b.drop(config.Cluster, &cluster.Cluster{Name: name})
		}
		return nil
	}
	if e.seq == 0 {
		if err := b.keepAssignment(e, old); err != nil {
			return err
		}
	}
	if text := e.warning(); text != "" {
		b.warn("Cluster "+Clip(name), "%s", text)
	}
	b.put(config.Cluster, e.msg, orNil(old), e.msg.GetNotes())
	return nil
}

// keepAssignment leaves a cluster the endpoints that it has, or that another one has under
// the name of its service: a control plane that sends a cluster again does not always
// send its endpoints again.
func (b *batch) keepAssignment(e *clusterEntry, old *cluster.Cluster) error {
	service := ServiceName(e.msg)
	if service == "" || e.msg.LoadAssignment != nil {
		return nil
	}
	if old == nil || ServiceName(old) != service || old.LoadAssignment == nil {
		var err error
		if old, err = b.fellow(service); old == nil || err != nil {
			return err
		}
	}
	e.msg.LoadAssignment = old.GetLoadAssignment()
	for _, n := range old.GetNotes() {
		if isAboutEndpoints(n) {
			e.msg.Notes = append(e.msg.Notes, n)
		}
	}
	return nil
}

// fellow returns a cluster of the store that has got the endpoints of that service.
func (b *batch) fellow(service string) (*cluster.Cluster, error) {
	takers, err := b.cur.Takers(service)
	if err != nil {
		return nil, err
	}
	for _, name := range takers {
		if c, err := clusterOf(b.cur, name); err != nil || c.GetLoadAssignment() != nil {
			return c, err
		}
	}
	return nil, nil
}

func (e *clusterEntry) warning() string {
	ls := e.labels
	if e.msg.GetPassthrough() || len(e.msg.GetLoadAssignment().GetEndpoints()) == 0 {
		return ""
	}
	if len(ls) == 0 {
		ls = labels{nil}
	}
	return e.sockets.warn(ls)
}

// mergeAssignments gives the endpoints of the batch to the clusters, of the batch
// and of the store, that take them.
func (b *batch) mergeAssignments() error {
	if len(b.assignments) == 0 {
		return nil
	}
	takers := make(map[string][]string, len(b.clusters)) // of the batch
	for name, e := range b.clusters {
		if s := ServiceName(e.msg); e.msg != nil && s != "" {
			takers[s] = append(takers[s], name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.assignments)) {
		a := b.assignments[name]
		targets := takers[name]
		held, err := b.cur.Takers(name)
		if err != nil {
			return err
		}
		for _, t := range held {
			if e := b.clusters[t]; e == nil || e.held {
				targets = append(targets, t)
			}
		}
		if a.own && !slices.Contains(targets, name) {
			there, err := b.exists(name)
			if err != nil {
				return err
			}
			if there {
				targets = append(targets, name)
			}
		}
		if len(targets) == 0 && a.msg != nil {
			b.warn("ClusterLoadAssignment "+Clip(name), "no cluster takes these endpoints: they are ignored")
		}
		for _, t := range targets {
			if err := b.assign(t, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// exists says whether there is such a cluster after the batch.
func (b *batch) exists(name string) (bool, error) {
	if e := b.clusters[name]; e != nil {
		return e.msg != nil, nil
	}
	c, err := clusterOf(b.cur, name)
	return c != nil, err
}

func (b *batch) assign(name string, a *assignmentEntry) error {
	e := b.clusters[name]
	if e == nil {
		c, err := clusterOf(b.cur, name)
		if err != nil {
			return err
		}
		e = &clusterEntry{msg: shallow(c), held: true}
		b.clusters[name] = e
	}
	if e.seq > a.seq {
		return nil // endpoints that came later, with the cluster itself
	}
	n := a.newAssignment
	if n.msg == nil {
		n.msg = &endpoint.ClusterLoadAssignment{ClusterName: name}
	}
	e.assigned(&n, a.seq)
	return nil
}
