// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

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

// serviceName is the name under which endpoints come for c, "" where none do.
func serviceName(c *cluster.Cluster) string {
	switch {
	case c.GetDiscoveryType() != cluster.Cluster_EDS:
		return ""
	case c.GetEdsServiceName() != "":
		return c.GetEdsServiceName()
	}
	return c.GetName()
}

func (b *batch) finishClusters() error {
	if len(b.clusters)+len(b.assignments) == 0 {
		return nil
	}
	if err := b.cur.loadClusters(); err != nil {
		return err
	}
	b.mergeAssignments()
	for _, name := range sortedKeys(b.clusters) {
		b.finishCluster(name, b.clusters[name])
	}
	return nil
}

func (b *batch) finishCluster(name string, e *clusterEntry) {
	old := b.cur.clusters[name]
	if e.msg == nil {
		if old != nil {
			b.drop(config.Cluster, &cluster.Cluster{Name: name})
		}
		return
	}
	if e.seq == 0 {
		b.keepAssignment(e, old)
	}
	if text := e.warning(); text != "" {
		b.warn("Cluster "+Clip(name), "%s", text)
	}
	b.put(config.Cluster, e.msg, orNil(old), e.msg.GetNotes())
}

// keepAssignment leaves a cluster the endpoints that it has: a control plane that
// sends a cluster again does not always send its endpoints again.
func (b *batch) keepAssignment(e *clusterEntry, old *cluster.Cluster) {
	service := serviceName(e.msg)
	if service == "" || e.msg.LoadAssignment != nil || old == nil || serviceName(old) != service {
		return
	}
	e.msg.LoadAssignment = old.GetLoadAssignment()
	for _, n := range old.GetNotes() {
		if isAboutEndpoints(n) {
			e.msg.Notes = append(e.msg.Notes, n)
		}
	}
}

func (e *clusterEntry) warning() string {
	ls := e.labels.all
	if e.msg.GetPassthrough() || len(e.msg.GetLoadAssignment().GetEndpoints()) == 0 {
		return ""
	}
	if len(ls) == 0 {
		ls = []*structpb.Struct{nil}
	}
	return e.sockets.warn(ls)
}

// mergeAssignments gives the endpoints of the batch to the clusters, of the batch
// and of the store, that take them.
func (b *batch) mergeAssignments() {
	if len(b.assignments) == 0 {
		return
	}
	takers := b.takers()
	for _, name := range sortedKeys(b.assignments) {
		a := b.assignments[name]
		targets := takers[name]
		if a.own && !slices.Contains(targets, name) && b.exists(name) {
			targets = append(targets, name)
		}
		if len(targets) == 0 && a.msg != nil {
			b.warn("ClusterLoadAssignment "+Clip(name), "no cluster takes these endpoints: they are ignored")
		}
		for _, t := range targets {
			b.assign(t, a)
		}
	}
}

// takers returns the clusters of each service name, as they are after the batch.
func (b *batch) takers() map[string][]string {
	takers := make(map[string][]string, len(b.clusters)+len(b.cur.clusters))
	add := func(c *cluster.Cluster) {
		if s := serviceName(c); s != "" {
			takers[s] = append(takers[s], c.GetName())
		}
	}
	for _, e := range b.clusters {
		if e.msg != nil {
			add(e.msg)
		}
	}
	for name, c := range b.cur.clusters {
		if b.clusters[name] == nil {
			add(c)
		}
	}
	return takers
}

// exists says whether there is such a cluster after the batch.
func (b *batch) exists(name string) bool {
	if e := b.clusters[name]; e != nil {
		return e.msg != nil
	}
	return b.cur.clusters[name] != nil
}

func (b *batch) assign(name string, a *assignmentEntry) {
	e := b.clusters[name]
	if e == nil {
		e = &clusterEntry{msg: shallow(b.cur.clusters[name])}
		b.clusters[name] = e
	}
	if e.seq > a.seq {
		return // endpoints that came later, with the cluster itself
	}
	n := a.newAssignment
	if n.msg == nil {
		n.msg = &endpoint.ClusterLoadAssignment{ClusterName: name}
	}
	e.assigned(&n, a.seq)
}
