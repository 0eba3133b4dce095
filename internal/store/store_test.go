// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/store/storetest"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/core"
	"github.com/kmesh-net/kmesh-node/proto/endpoint"
	"github.com/kmesh-net/kmesh-node/proto/filter"
	"github.com/kmesh-net/kmesh-node/proto/listener"
)

// open opens a store on new maps, which the test's environment names.
func open(t *testing.T) *Store {
	t.Helper()
	storetest.Maps(t)
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(true); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newCluster(name string, addresses ...string) *cluster.Cluster {
	l := &endpoint.LocalityLbEndpoints{}
	for _, a := range addresses {
		l.LbEndpoints = append(l.LbEndpoints,
			&endpoint.Endpoint{Address: config.SocketAddress(netip.MustParseAddrPort(a))})
	}
	return &cluster.Cluster{Name: name, LoadAssignment: &endpoint.ClusterLoadAssignment{
		Endpoints: []*endpoint.LocalityLbEndpoints{l}}}
}

func newListener(address, cluster string) *listener.Listener {
	return &listener.Listener{
		Name:    "l",
		Address: config.SocketAddress(netip.MustParseAddrPort(address)),
		FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{ConfigType: &listener.Filter_TcpProxy{
			TcpProxy: &filter.TcpProxy{ClusterSpecifier: &filter.TcpProxy_Cluster{Cluster: cluster}}}}}}},
	}
}

func publish(t *testing.T, s *Store, ops ...Op) {
	t.Helper()
	if err := s.Publish(ops); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsPublishedIsRestored(t *testing.T) {
	s := open(t)
	want := []proto.Message{
		newCluster("a", "10.0.0.1:80", "[2001:db8::1]:80"),
		newCluster("b"),
		newListener("10.96.0.1:80", "a"),
		newListener("[2001:db8::2]:443", "c"),
	}
	var ops []Op
	for _, m := range want {
		ops = append(ops, Op{Message: m})
	}
	publish(t, s, ops...)

	for _, m := range want {
		got, err := s.Get(config.KindOf(m), m)
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, m) {
			t.Errorf("restored %v, want %v", got, m)
		}
	}
	for k, n := range map[Kind]int{Cluster: 2, Listener: 2, Route: 0} {
		l, err := s.List(k)
		if err != nil {
			t.Fatal(err)
		}
		if len(l) != n {
			t.Errorf("%d of kind %v, want %d", len(l), k, n)
		}
	}
	st, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if st.Generation != 1 || st.References.Clusters != 1 || st.Clusters.Used != 2 || st.Listeners.Used != 2 {
		t.Errorf("stats %+v", st)
	}
}

func TestADeletedResourceIsNotFound(t *testing.T) {
	s := open(t)
	a, l := newCluster("a", "10.0.0.1:80"), newListener("10.96.0.1:80", "a")
	publish(t, s, Op{Message: a}, Op{Message: l})
	publish(t, s, Op{Delete: true, Message: a}, Op{Delete: true, Message: l})
	for _, m := range []proto.Message{a, l} {
		if _, err := s.Get(config.KindOf(m), m); !errors.Is(err, ErrNotFound) {
			t.Errorf("get %s: %v, want ErrNotFound", config.KeyOf(m), err)
		}
	}
	publish(t, s, Op{Delete: true, Message: a}) // again: nothing to do
}

func TestEndpointsAreListedByPriority(t *testing.T) {
	s := open(t)
	c := newCluster("a", "10.0.0.1:80", "10.0.0.2:80")
	c.LoadAssignment.Endpoints = append(c.LoadAssignment.Endpoints, &endpoint.LocalityLbEndpoints{
		Priority:    3,
		LbEndpoints: []*endpoint.Endpoint{{Address: config.SocketAddress(netip.MustParseAddrPort("10.0.0.3:80"))}},
	})
	publish(t, s, Op{Message: c})
	l, err := s.Endpoints("a")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range l {
		got = append(got, fmt.Sprintf("%s %d %d/%d", e.Address, e.Group, e.Weight, e.Total))
	}
	want := "10.0.0.1:80 0 1/2, 10.0.0.2:80 0 1/2, 10.0.0.3:80 1 1/1"
	if strings.Join(got, ", ") != want {
		t.Errorf("endpoints %q, want %q", got, want)
	}
	if _, err := s.Endpoints("b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("endpoints of no cluster: %v", err)
	}
}

func TestABadResourceRejectsTheBatch(t *testing.T) {
	s := open(t)
	bad := newCluster("bad")
	bad.LoadAssignment.Endpoints[0].LbEndpoints = []*endpoint.Endpoint{{Address: &core.SocketAddress{Ipv4: 1}}}
	err := s.Publish([]Op{{Message: newCluster("good")}, {Message: bad}})
	var invalid *InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "Cluster bad: load_assignment.endpoints[0].lb_endpoints[0]") {
		t.Errorf("error %v", err)
	}
	var failed *OpError
	if !errors.As(err, &failed) || failed.Op != 1 {
		t.Errorf("the operation is not told: %+v", failed)
	}
	if l, err := s.List(Cluster); err != nil || len(l) != 0 {
		t.Errorf("store holds %v, %v", l, err)
	}

	long := newCluster(strings.Repeat("x", config.MaxName+1))
	if err := s.Publish([]Op{{Message: long}}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("error %v, want ErrNoSpace", err)
	}
}

func TestAZeroByteInANameIsRefused(t *testing.T) {
	s := open(t)
	var invalid *InvalidError
	if err := s.Publish([]Op{{Message: newCluster("a\x00b")}}); !errors.As(err, &invalid) {
		t.Errorf("error %v", err)
	}
	if _, err := s.Get(Cluster, newCluster("a\x00b")); !errors.As(err, &invalid) {
		t.Errorf("error %v", err)
	}
}

// What was made from one version is not published over another.
func TestPublishAtComparesVersions(t *testing.T) {
	s := open(t)
	at, err := s.Version()
	if err != nil || at.Maps == 0 || at.Generation != 0 {
		t.Fatalf("version %+v, %v", at, err)
	}
	put := []Op{{Message: &cluster.Cluster{Name: "a"}}}
	next, err := s.PublishAt(put, at)
	if err != nil || next != (Version{at.Maps, 1}) {
		t.Fatalf("published to %+v, %v", next, err)
	}
	if same, err := s.PublishAt(put, next); err != nil || same != next {
		t.Errorf("the same once more: %+v, %v; want %+v", same, err, next)
	}
	put[0].Message = &cluster.Cluster{Name: "b"}
	if _, err := s.PublishAt(put, at); !errors.Is(err, ErrMoved) {
		t.Errorf("over another version: %v, want ErrMoved", err)
	}
	if now, err := s.Version(); err != nil || now != next {
		t.Errorf("version %+v, %v, want %+v", now, err, next)
	}
}

// An update that another writer came into the middle of is planned anew.
func TestUpdateSeesWhatCameInBetween(t *testing.T) {
	s := open(t)
	rival := Op{Message: &cluster.Cluster{Name: "rival"}}
	var seen []int
	plan := func() ([]Op, error) {
		l, err := s.List(Cluster)
		if seen = append(seen, len(l)); len(seen) == 1 {
			publish(t, s, rival)
		}
		return []Op{{Message: &cluster.Cluster{Name: fmt.Sprintf("saw-%d", len(l))}}}, err
	}
	if err := s.Update(plan); err != nil || !slices.Equal(seen, []int{0, 1}) {
		t.Errorf("plans saw %v clusters, %v; want 0, then 1", seen, err)
	}
	if _, err := s.Get(Cluster, &cluster.Cluster{Name: "saw-1"}); err != nil {
		t.Error(err)
	}
	if err := s.Update(func() ([]Op, error) { return nil, unix.EIO }); !errors.Is(err, unix.EIO) {
		t.Errorf("a plan that fails: %v", err)
	}
	n := 0
	err := s.Update(func() ([]Op, error) {
		n++
		publish(t, s, Op{Message: &cluster.Cluster{Name: "rival", ConnectTimeout: uint32(n)}})
		return []Op{{Message: &cluster.Cluster{Name: "late"}}}, nil
	})
	if n != tries || !errors.Is(err, ErrMoved) {
		t.Errorf("a rival without end: %d plans, %v", n, err)
	}
}
