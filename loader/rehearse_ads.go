// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/probe"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/core"
	"github.com/kmesh-net/kmesh-node/proto/endpoint"
	"github.com/kmesh-net/kmesh-node/proto/filter"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// Addresses for documentation: no connection gets there unless it is sent elsewhere.
var (
	testService  = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1}), netip.MustParseAddr("2001:db8::1")}
	testDetour   = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 2}), netip.MustParseAddr("2001:db8::2")}
	testSupplier = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 3}), netip.MustParseAddr("2001:db8::3")}
)

const testPort = 80

// rehearseAds has a listener that leads to a cluster at once, and one whose connections
// pass every stage of the chain, but for those that a connect comes to only where it was
// overtaken or endpoints fail.
func (t *trial) rehearseAds(s *scratch, v variant) (err error) {
	st, err := s.openStore()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.closeStore(st)) }()
	if err := st.Publish(t.adsConfig()); err != nil {
		return loadError("self-test", s.cfg.tree().root(), err, "")
	}
	var l []attempt
	open := map[string]uint64{} // connections by cluster and endpoint
	for i, ip := range loopbacks {
		for _, c := range []struct {
			to   netip.Addr
			port uint16
			name string
		}{{testService[i], t.ports.endpoint, "direct"}, {testDetour[i], t.ports.other, "chain"}} {
			at := netip.AddrPortFrom(ip, c.port)
			if t.has[at] {
				l = append(l, attempt{conn: probe.Conn{To: netip.AddrPortFrom(c.to, testPort)}, at: at, by: connectRow(ip)})
				open[c.name+at.String()]++
			}
		}
	}
	err = t.counted(s.progs, nil, func(counting bool) error {
		if err := t.round(l); err != nil {
			return err
		}
		return s.ran(t.driven(s.progs), counting)
	})
	if err != nil {
		return err
	}
	counts := func(active bool) error {
		for name, clusters := range map[string][]string{"direct": {"direct"}, "chain": {"chain", "twin"}} {
			made, held, err := sumEndpoints(st, clusters)
			if err != nil {
				return loadError("self-test", name, err, "")
			}
			for at := range made {
				want := open[name+at.String()]
				if err := wrongCount("sock_ops", "connections that are open to "+at.String(), held[at], choose(active && name == "direct", want)); err != nil {
					return err // the policy of that one alone counts them
				}
				if err := wrongCount(resultRow(t.rows), "connections that were made to "+at.String(), made[at], choose(v != variantOff, want)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := counts(true); err != nil {
		return err
	}
	if err := t.round(nil); err != nil { // closes them
		return err
	}
	return counts(false)
}

func choose(yes bool, n uint64) uint64 {
	if yes {
		return n
	}
	return 0
}

// sumEndpoints adds up, by address, the connections that were made to endpoints of these
// clusters, and those that are open.
func sumEndpoints(st *store.Store, clusters []string) (made, held map[netip.AddrPort]uint64, err error) {
	made, held = map[netip.AddrPort]uint64{}, map[netip.AddrPort]uint64{}
	for _, c := range clusters {
		l, err := st.Endpoints(c)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range l {
			made[e.Address] += e.OK
			held[e.Address] += uint64(e.Active)
		}
	}
	return made, held, nil
}

// resultRow is the program that learns the result of connects.
func resultRow(rows []program) string {
	for _, r := range rows {
		if r.only != "" {
			return r.name
		}
	}
	return ""
}

// openStore opens the C store on the scratch maps. It finds them by the environment,
// which is not used for those that are up before the step ApiEnvCfg.
func (s *scratch) openStore() (*store.Store, error) {
	if err := s.ApiEnvCfg(); err != nil {
		return nil, loadError("self-test", s.cfg.tree().root(), err, "")
	}
	st, err := store.Open()
	if err != nil {
		return nil, errors.Join(loadError("self-test", s.cfg.tree().root(), err, ""), s.removeLock())
	}
	return st, nil
}

// closeStore closes it and removes its traces.
func (s *scratch) closeStore(st *store.Store) error {
	errs := []error{st.Close(true)}
	for _, m := range mapsOf(Ads) {
		if m.env != "" {
			errs = append(errs, os.Unsetenv(m.env), os.Unsetenv(m.env+"_FD"))
		}
	}
	if err := errors.Join(append(errs, s.removeLock())...); err != nil {
		return fmt.Errorf("clean up after the self-test: %w", err)
	}
	return nil
}

func (s *scratch) removeLock() error {
	meta, err := mapInfoOf(s.fds["km_meta"])
	if err != nil {
		return err
	}
	return removeStoreLock(meta.ID)
}

func (t *trial) adsConfig() []config.Op {
	var ops []config.Op
	put := func(m proto.Message) { ops = append(ops, config.Op{Message: m}) }
	put(testCluster("direct", cluster.Cluster_LEAST_REQUEST, t.ports.endpoint))
	for _, name := range []string{"chain", "twin"} {
		put(testCluster(name, cluster.Cluster_ROUND_ROBIN, t.ports.other))
	}
	put(&route.RouteConfiguration{Name: "routes", VirtualHosts: []*route.VirtualHost{{
		Name: "any", Domains: []string{"*"}, Routes: []*route.Route{{
			Match: &route.RouteMatch{Prefix: "/"},
			Route: &route.RouteAction{ClusterSpecifier: &route.RouteAction_WeightedClusters{WeightedClusters: &route.WeightedCluster{
				Clusters: []*route.ClusterWeight{{Name: "chain", Weight: 1}, {Name: "twin", Weight: 1}}}}}}}}}})
	for i := range loopbacks {
		put(&listener.Listener{Name: "direct", Address: config.SocketAddress(netip.AddrPortFrom(testService[i], testPort)),
			FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{ConfigType: &listener.Filter_TcpProxy{
				TcpProxy: &filter.TcpProxy{ClusterSpecifier: &filter.TcpProxy_Cluster{Cluster: "direct"}}}}}}}})
		put(&listener.Listener{Name: "chain", Address: config.SocketAddress(netip.AddrPortFrom(testDetour[i], testPort)),
			FilterChains: []*listener.FilterChain{{
				FilterChainMatch: &listener.FilterChainMatch{PrefixRanges: []*core.CidrRange{{
					AddressPrefix: testDetour[i].String(), PrefixLen: uint32(testDetour[i].BitLen())}}},
				Filters: []*listener.Filter{{ConfigType: &listener.Filter_HttpConnectionManager{
					HttpConnectionManager: &filter.HttpConnectionManager{
						RouteSpecifier: &filter.HttpConnectionManager_RouteConfigName{RouteConfigName: "routes"}}}}}}}})
	}
	return ops
}

func testCluster(name string, policy cluster.Cluster_LbPolicy, port uint16) *cluster.Cluster {
	l := &endpoint.LocalityLbEndpoints{}
	for _, ip := range loopbacks {
		l.LbEndpoints = append(l.LbEndpoints, &endpoint.Endpoint{Address: config.SocketAddress(netip.AddrPortFrom(ip, port))})
	}
	return &cluster.Cluster{Name: name, LbPolicy: policy, LoadAssignment: &endpoint.ClusterLoadAssignment{
		ClusterName: name, Endpoints: []*endpoint.LocalityLbEndpoints{l}}}
}
