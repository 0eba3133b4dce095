// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/core"
)

// passes ends every note about connections that go where the application asked.
const passes = ": connections pass through"

// newCluster is a Cluster as a control plane sent it.
type newCluster struct {
	msg     *cluster.Cluster
	inline  *newAssignment // endpoints that came with it
	sockets *sockets
}

// toCluster converts a Cluster of Envoy's. Its endpoints, where it carries them, are
// not yet in msg.
func toCluster(c *clusterv3.Cluster) (*newCluster, error) {
	m := &cluster.Cluster{Name: c.GetName()}
	n := &newCluster{msg: m}
	var err error
	if n.sockets, err = socketsOf(c); err != nil {
		return nil, err
	}
	if m.ConnectTimeout, err = toSeconds(c.GetConnectTimeout()); err != nil {
		return nil, in("connect_timeout", err)
	}
	if err := setDiscovery(m, c); err != nil {
		return nil, err
	}
	setBalancing(m, c)
	setBreakers(m, c.GetCircuitBreakers())
	if c.GetOutlierDetection() != nil {
		m.Notes = append(m.Notes, "outlier_detection: kmesh-node's own settings apply in its place")
	}
	if len(c.GetHealthChecks()) > 0 {
		m.Notes = append(m.Notes, "health_checks: none are made")
	}
	if la := c.GetLoadAssignment(); la != nil && m.DiscoveryType != cluster.Cluster_EDS {
		if n.inline, err = toAssignment(la); err != nil {
			return nil, in("load_assignment", err)
		}
	}
	return n, nil
}

// leaveAlone makes c one that connections pass by, for the reason that note gives.
func leaveAlone(c *cluster.Cluster, note string) {
	c.Passthrough = true
	c.Notes = append(c.Notes, note+passes)
}

func setDiscovery(m *cluster.Cluster, c *clusterv3.Cluster) error {
	switch t := c.GetClusterDiscoveryType().(type) {
	case *clusterv3.Cluster_ClusterType:
		leaveAlone(m, fmt.Sprintf("cluster_type %s", Clip(t.ClusterType.GetName())))
		return nil
	case *clusterv3.Cluster_Type:
		// The numbers are the same, proto/cluster says so.
		m.DiscoveryType = cluster.Cluster_DiscoveryType(t.Type)
	}
	switch m.DiscoveryType {
	case cluster.Cluster_EDS:
		m.EdsServiceName = c.GetEdsClusterConfig().GetServiceName()
	case cluster.Cluster_ORIGINAL_DST:
		m.Passthrough = true
	}
	return nil
}

// Load balancing policies by type, for clusters that name them so.
var policies = map[string]cluster.Cluster_LbPolicy{
	"envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin":     cluster.Cluster_ROUND_ROBIN,
	"envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest": cluster.Cluster_LEAST_REQUEST,
	"envoy.extensions.load_balancing_policies.random.v3.Random":              cluster.Cluster_RANDOM,
}

func setBalancing(m *cluster.Cluster, c *clusterv3.Cluster) {
	if m.Passthrough {
		return
	}
	if len(c.GetLbSubsetConfig().GetSubsetSelectors()) > 0 {
		leaveAlone(m, "lb_subset_config: endpoints are not chosen by metadata")
	}
	if p := c.GetLoadBalancingPolicy(); p != nil {
		// Envoy takes the first of the list that it knows; so here.
		for _, each := range p.GetPolicies() {
			known, ok := policies[typeName(each.GetTypedExtensionConfig().GetTypedConfig().GetTypeUrl())]
			if ok {
				m.LbPolicy = known
				return
			}
		}
		name := "without a policy"
		if len(p.GetPolicies()) > 0 {
			name = Clip(p.GetPolicies()[0].GetTypedExtensionConfig().GetName())
		}
		leaveAlone(m, "load_balancing_policy "+name)
		return
	}
	switch c.GetLbPolicy() {
	case clusterv3.Cluster_ROUND_ROBIN:
		m.LbPolicy = cluster.Cluster_ROUND_ROBIN
	case clusterv3.Cluster_LEAST_REQUEST:
		m.LbPolicy = cluster.Cluster_LEAST_REQUEST
	case clusterv3.Cluster_RANDOM:
		m.LbPolicy = cluster.Cluster_RANDOM
	default:
		leaveAlone(m, fmt.Sprintf("lb_policy %s", c.GetLbPolicy()))
	}
}

// setBreakers keeps the thresholds of normal traffic. Nothing enforces them, and
// control planes send them with every cluster, so no note says so.
func setBreakers(m *cluster.Cluster, b *clusterv3.CircuitBreakers) {
	for _, t := range b.GetThresholds() {
		if t.GetPriority() != corev3.RoutingPriority_DEFAULT {
			continue
		}
		m.CircuitBreakers = &cluster.CircuitBreakers{
			Priority:           core.RoutingPriority_DEFAULT,
			MaxConnections:     t.GetMaxConnections().GetValue(),
			MaxPendingRequests: t.GetMaxPendingRequests().GetValue(),
			MaxRequests:        t.GetMaxRequests().GetValue(),
			MaxRetries:         t.GetMaxRetries().GetValue(),
			MaxConnectionPools: t.GetMaxConnectionPools().GetValue(),
		}
		return
	}
}
