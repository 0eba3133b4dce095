// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"slices"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
)

func TestLiveSpeaksBothVariants(t *testing.T) {
	l := NewLive(Config{})
	started(t, l)
	c := dial(t, l.Address(), nil)
	f := Fleet{Services: 3, Endpoints: 2}
	list, err := f.Envoy()
	must(t, err)
	must(t, l.Set(c.ctx, list...))

	world := c.world()
	must(t, world.Send(&discovery.DiscoveryRequest{Node: node(), TypeUrl: Cluster}))
	w, err := world.Recv()
	must(t, err)
	if len(w.GetResources()) != 3 {
		t.Errorf("%d clusters", len(w.GetResources()))
	}
	must(t, world.Send(&discovery.DiscoveryRequest{TypeUrl: Cluster, VersionInfo: w.GetVersionInfo(), ResponseNonce: w.GetNonce()}))

	delta := c.delta()
	must(t, delta.Send(&discovery.DeltaDiscoveryRequest{Node: node(), TypeUrl: Endpoints, ResourceNamesSubscribe: []string{f.ClusterName(0), f.ClusterName(1)}}))
	d, err := delta.Recv()
	must(t, err)
	if len(d.GetResources()) != 2 {
		t.Errorf("%d assignments", len(d.GetResources()))
	}
	must(t, delta.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: Endpoints, ResponseNonce: d.GetNonce()}))
	list[1], err = NewResponse(Endpoints, f.assignment(0, f.Of(0)), f.assignment(1, f.Of(2)), f.assignment(2, f.Of(2)))
	must(t, err)
	must(t, l.Set(c.ctx, list...))
	d, err = delta.Recv()
	must(t, err)
	if len(d.GetResources()) != 1 || d.GetResources()[0].GetName() != f.ClusterName(1) {
		t.Errorf("received %v", d)
	}
	if err := l.Set(c.ctx, list[:1]...); err == nil {
		t.Error("clusters without endpoints are taken")
	}
	q, err := l.Wait(c.ctx, func(q Request) bool { return q.ACK() && q.Type == Endpoints })
	must(t, err)
	if q.Stream != 2 || q.Node != nil {
		t.Errorf("the answer is %+v", q)
	}
	q, err = l.Wait(c.ctx, func(q Request) bool { return q.ACK() && q.Type == Cluster })
	must(t, err)
	if q.Stream != 1 || q.Version != w.GetVersionInfo() {
		t.Errorf("the answer is %+v", q)
	}
}

func TestLiveResumesWhatAClientHolds(t *testing.T) {
	l := NewLive(Config{})
	started(t, l)
	c := dial(t, l.Address(), nil)
	f := Fleet{Services: 2, Endpoints: 2}
	list, err := f.Ambient()
	must(t, err)
	must(t, l.Change(list[0]))

	open := func(held map[string]string) *discovery.DeltaDiscoveryResponse {
		s := c.delta()
		must(t, s.Send(&discovery.DeltaDiscoveryRequest{Node: node(), TypeUrl: Address, InitialResourceVersions: held}))
		r, err := s.Recv()
		must(t, err)
		return r
	}
	r := open(nil)
	if len(r.GetResources()) != 6 {
		t.Fatalf("%d resources", len(r.GetResources()))
	}
	held := map[string]string{"ns/gone": ""}
	for _, res := range r.GetResources() {
		held[res.GetName()] = res.GetVersion()
	}
	gone := list[0].Resources[1].Name
	must(t, l.Change(Response{Type: Address, Removed: []string{gone}}))
	moved, err := f.WorkloadOf(1, 1, f.Spare(0))
	must(t, err)
	must(t, l.Change(moved))
	r = open(held)
	slices.Sort(r.RemovedResources)
	if len(r.GetResources()) != 1 || !slices.Equal(r.GetRemovedResources(), []string{gone, "ns/gone"}) {
		t.Errorf("after a resume %d resources, removed %q", len(r.GetResources()), r.GetRemovedResources())
	}
}

// What it generates is as large as what istiod sends, and no two of it are one.
func TestFleet(t *testing.T) {
	f := Fleet{Services: 1000, Endpoints: 10}
	for what, fn := range map[string]func() ([]Response, error){"Envoy": f.Envoy, "Ambient": f.Ambient} {
		list, err := fn()
		must(t, err)
		for _, r := range list {
			seen := map[string]bool{}
			for _, res := range r.Resources {
				if res.Name == "" || seen[res.Name] {
					t.Fatalf("%s: %s has %q twice", what, r.Type, res.Name)
				}
				seen[res.Name] = true
			}
			t.Logf("%s: %d of %s, %d bytes", what, len(r.Resources), short(r.Type), proto.Size(r.world()))
		}
		if n := proto.Size(list[0].world()); n < 800_000 {
			t.Errorf("%s: the first response has %d bytes", what, n)
		}
	}
	if f.Endpoint(0, 10) != f.Endpoint(1, 0) || f.VIP(0).String() != "10.64.0.1:80" || f.Spare(0).String() != "10.128.39.17:8080" {
		t.Errorf("addresses %v, %v, %v", f.Endpoint(0, 10), f.VIP(0), f.Spare(0))
	}
}
