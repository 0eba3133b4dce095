// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"github.com/sirupsen/logrus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
)

// fakeStore is the store without maps: batches, generations, and nothing else.
type fakeStore struct {
	all     map[config.Kind]map[string]proto.Message
	version store.Version
	fail    error  // of the next publication
	shut    error  // of each walk over Clusters, which come last
	refuse  string // the key of a resource that is not taken
	// refuseAll begins the keys of several.
	refuseAll string
	before    func() // the next publication
	always    func() // before each
	reads     int
}

func newFakeStore() *fakeStore {
	f := &fakeStore{all: map[config.Kind]map[string]proto.Message{}, version: store.Version{Maps: 1}}
	for _, k := range config.Kinds() {
		f.all[k] = map[string]proto.Message{}
	}
	return f
}

func (f *fakeStore) Version() (store.Version, error) { return f.version, nil }

func (f *fakeStore) Get(k config.Kind, key proto.Message) (proto.Message, error) {
	f.reads++
	m := f.all[k][config.KeyOf(key)]
	if m == nil {
		return nil, config.ErrNotFound
	}
	return m, nil
}

func (f *fakeStore) Walk(k config.Kind, do func(proto.Message) error) error {
	if f.shut != nil && k == config.Cluster {
		return f.shut
	}
	for _, key := range slices.Sorted(maps.Keys(f.all[k])) {
		f.reads++
		if err := do(f.all[k][key]); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeStore) List(k config.Kind) (l []proto.Message, err error) {
	return l, f.Walk(k, func(m proto.Message) error {
		l = append(l, m)
		return nil
	})
}

func (f *fakeStore) PublishAt(ops []config.Op, at store.Version) (store.Version, error) {
	if do := f.before; do != nil {
		f.before = nil
		do()
	}
	if f.always != nil {
		f.always()
	}
	if err := f.fail; err != nil {
		f.fail = nil
		return store.Version{}, err
	}
	if at != f.version {
		return store.Version{}, store.ErrMoved
	}
	for i, op := range ops {
		key := config.KeyOf(op.Message)
		if !op.Delete && key != "" && (key == f.refuse || f.refuseAll != "" && strings.HasPrefix(key, f.refuseAll)) {
			return store.Version{}, &store.OpError{Op: i, Err: &store.InvalidError{Message: key}}
		}
	}
	changed := false
	for _, op := range ops {
		all, key := f.all[config.KindOf(op.Message)], config.KeyOf(op.Message)
		old := all[key]
		switch {
		case op.Delete && old != nil:
			delete(all, key)
			changed = true
		case !op.Delete && (old == nil || !proto.Equal(old, op.Message)):
			all[key] = proto.Clone(op.Message)
			changed = true
		}
	}
	if changed {
		f.version.Generation++
	}
	return f.version, nil
}

// bench is a sink over a fake store, with a clock of its own.
type bench struct {
	t     *testing.T
	store *fakeStore
	sink  *Ads
	now   time.Time
	delta bool
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, store: newFakeStore(), now: time.Unix(1e9, 0)}
	b.restart()
	return b
}

// restart is another process on the same maps.
func (b *bench) restart() {
	log := logrus.New()
	log.SetOutput(io.Discard)
	b.sink = newAds(log, func() time.Time { return b.now }, func(do func(storage) error) error { return do(b.store) })
	b.t.Cleanup(b.sink.Close)
}

// wait lets time pass.
func (b *bench) wait(d time.Duration) {
	b.now = b.now.Add(d)
	b.sink.expire()
}

func (b *bench) document(delta bool, url string, removed []string, resources ...proto.Message) *xds.Document {
	b.t.Helper()
	var raws []xds.Raw
	for _, m := range resources {
		value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			b.t.Fatal(err)
		}
		raws = append(raws, xds.Raw{URL: url, Value: value})
	}
	d, err := xds.Response("test", url, delta, raws, removed)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// send hands over one response and returns what was rejected, by name.
func (b *bench) send(url string, resources ...proto.Message) []string {
	b.t.Helper()
	return b.sendOf(b.delta, url, nil, resources...)
}

func (b *bench) sendOf(delta bool, url string, removed []string, resources ...proto.Message) (names []string) {
	b.t.Helper()
	rejected, err := b.sink.Update(b.t.Context(), b.document(delta, url, removed, resources...))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range rejected {
		names = append(names, r.Name)
	}
	return names
}

// clusters are shown with their endpoints' ports, "-" where none have come.
func (b *bench) clusters() string {
	s := ""
	for _, name := range slices.Sorted(maps.Keys(b.store.all[config.Cluster])) {
		c := b.store.all[config.Cluster][name].(*cluster.Cluster)
		if c.LoadAssignment == nil {
			s += name + "- "
			continue
		}
		s += name
		for _, l := range c.GetLoadAssignment().GetEndpoints() {
			for _, e := range l.GetLbEndpoints() {
				ap, err := config.AddrPort(e.GetAddress())
				if err != nil {
					b.t.Fatal(err)
				}
				s += fmt.Sprintf(":%d", ap.Port())
			}
		}
		s += " "
	}
	return s
}

func (b *bench) keys(k config.Kind) string {
	return fmt.Sprint(slices.Sorted(maps.Keys(b.store.all[k])))
}

func (b *bench) want(what, is, want string) {
	b.t.Helper()
	if is != want {
		b.t.Errorf("%s: %q, want %q", what, is, want)
	}
}

func (b *bench) wantSynced() {
	b.t.Helper()
	if ok, missing := b.sink.Synced(); !ok {
		b.t.Errorf("not synced: %s", missing)
	}
}

// wantNothingOverdue fails where the timer of what waits would run again at once.
func (b *bench) wantNothingOverdue() {
	b.t.Helper()
	if first := b.sink.world.oldest(); !first.IsZero() && !first.After(b.now.Add(-fetchTime)) {
		b.t.Fatalf("something waits since %v, it is %v", first, b.now)
	}
}

func (b *bench) asked(url string) string {
	names, _ := b.sink.Names(url)
	return fmt.Sprint(names)
}

// eds is a cluster whose endpoints come by themselves, under that name of a service.
func eds(name, service string) *clusterv3.Cluster {
	return &clusterv3.Cluster{Name: name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{ServiceName: service}}
}

func address(ip string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: ip, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port}}}}
}

func endpoints(service string, ports ...uint32) *endpointv3.ClusterLoadAssignment {
	l := &endpointv3.LocalityLbEndpoints{}
	for _, p := range ports {
		l.LbEndpoints = append(l.LbEndpoints, &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
			Endpoint: &endpointv3.Endpoint{Address: address("10.1.0.1", p)}}})
	}
	return &endpointv3.ClusterLoadAssignment{ClusterName: service, Endpoints: []*endpointv3.LocalityLbEndpoints{l}}
}

// weighted leads to clusters in equal parts.
func weighted(clusters []string) *tcpv3.TcpProxy_WeightedCluster {
	w := &tcpv3.TcpProxy_WeightedCluster{}
	for _, c := range clusters {
		w.Clusters = append(w.Clusters, &tcpv3.TcpProxy_WeightedCluster_ClusterWeight{Name: c, Weight: 1})
	}
	return w
}

func listening(t *testing.T, name string, port uint32, filter proto.Message) *listenerv3.Listener {
	t.Helper()
	a, err := anypb.New(filter)
	if err != nil {
		t.Fatal(err)
	}
	return &listenerv3.Listener{Name: name, Address: address("10.0.0.1", port), FilterChains: []*listenerv3.FilterChain{{
		Filters: []*listenerv3.Filter{{Name: "f", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: a}}}}}}
}

func tcp(t *testing.T, name string, port uint32, clusters ...string) *listenerv3.Listener {
	t.Helper()
	return listening(t, name, port, &tcpv3.TcpProxy{StatPrefix: "s",
		ClusterSpecifier: &tcpv3.TcpProxy_WeightedClusters{WeightedClusters: weighted(clusters)}})
}

func http(t *testing.T, name string, port uint32, route string) *listenerv3.Listener {
	t.Helper()
	return listening(t, name, port, &hcmv3.HttpConnectionManager{
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: route}}})
}

func routing(name string, clusters ...string) *routev3.RouteConfiguration {
	rc := &routev3.RouteConfiguration{Name: name}
	for i, c := range clusters {
		vh := &routev3.VirtualHost{Name: c, Domains: []string{fmt.Sprintf("10.0.0.%d", i+1)}}
		vh.Routes = []*routev3.Route{{Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: c}}}}}
		rc.VirtualHosts = append(rc.VirtualHosts, vh)
	}
	return rc
}

const (
	cds = xdsclient.ClusterType
	edt = xdsclient.EndpointType
	lds = xdsclient.ListenerType
	rds = xdsclient.RouteType
)
