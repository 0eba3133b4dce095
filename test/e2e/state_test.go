// SPDX-License-Identifier: Apache-2.0

package e2e

import "time"

// endpointState is what `get endpoints -o json` says of one endpoint.
type endpointState struct {
	Address    string
	Active     int
	OK         int
	Refused    int
	Timeouts   int
	Errors     int
	Ejections  int
	LatencyAvg time.Duration `json:"latency_avg_ns"`
	LatencyMax time.Duration `json:"latency_max_ns"`
	EjectedFor time.Duration `json:"ejected_for_ns"`
}

// endpoints returns the state of a cluster's endpoints by address.
func (n *node) endpoints(cluster string) map[string]endpointState {
	n.t.Helper()
	var list []struct {
		Cluster   string
		Endpoints []endpointState
	}
	n.query(&list, "get", "endpoints", cluster)
	states := map[string]endpointState{}
	for _, c := range list {
		if c.Cluster != cluster {
			n.t.Errorf("get endpoints %s shows %s", cluster, c.Cluster)
		}
		for _, e := range c.Endpoints {
			states[e.Address] = e
		}
	}
	return states
}

func (n *node) endpoint(cluster, addr string) endpointState {
	n.t.Helper()
	s, ok := n.endpoints(cluster)[addr]
	if !ok {
		n.t.Fatalf("get endpoints %s does not show %s", cluster, addr)
	}
	return s
}

// active returns the open connections of each of a cluster's endpoints.
func (n *node) active(cluster string) map[string]int {
	n.t.Helper()
	counted := map[string]int{}
	for addr, s := range n.endpoints(cluster) {
		counted[addr] = s.Active
	}
	return counted
}

// storeState is what `status -o json` says of the store.
type storeState struct {
	Generation uint64
	Slots      struct{ Total, Used, Free, Pending int }
	Clusters   struct{ Used, Limit int }
	Listeners  struct{ Used, Limit int }
	References struct{ Clusters, Routes int }
}

func (n *node) store() storeState {
	n.t.Helper()
	var status struct{ Store storeState }
	n.query(&status, "status")
	return status.Store
}

// generation returns the number of the last publication.
func (n *node) generation() uint64 {
	n.t.Helper()
	return n.store().Generation
}
