// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"hash/crc64"
	"net/netip"
	"slices"
	"strings"

	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// defaultWaypointPort is that of a node whose settings are not written yet.
const defaultWaypointPort = 15019

// nodeSettings are what the loader was told.
type nodeSettings struct {
	name                  string
	region, zone, subzone string
	waypointPort          uint16
}

func decodeSettings(n *nodeC) nodeSettings {
	s := nodeSettings{
		name: cString(raw(&n.name)), region: cString(raw(&n.region)),
		zone: cString(raw(&n.zone)), subzone: cString(raw(&n.subzone)),
		waypointPort: hostOrder(n.waypoint_port),
	}
	if s.waypointPort == 0 {
		s.waypointPort = defaultWaypointPort
	}
	return s
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// locality is where a workload, or this node, is.
type locality struct {
	region, zone, subzone  string
	node, cluster, network string
	known                  bool // cluster and network: some workload here is known
}

// String is REGION/ZONE/SUBZONE, as far as they are known.
func (l locality) String() string {
	return strings.TrimRight(l.region+"/"+l.zone+"/"+l.subzone, "/")
}

// locate finds out where this node is: what the loader was told, else what the
// workloads on the node of this name say, else those at addresses of enrolled pods.
func (m *model) locate() locality {
	var first, placed *resource
	look := func(local group) {
		for r := range local.all() {
			if first == nil || r.name < first.name {
				first = r
			}
			if r.w.place.Value().region != "" && (placed == nil || r.name < placed.name) {
				placed = r
			}
		}
	}
	if m.node.name != "" {
		look(m.nodes[m.node.name])
	}
	if first == nil {
		for a := range m.enrolled {
			look(m.addrs[a])
		}
	}
	var here locality
	if first != nil {
		here = first.w.place.Value()
	}
	if placed != nil {
		l := placed.w.place.Value()
		here.region, here.zone, here.subzone = l.region, l.zone, l.subzone
	}
	if m.node.name != "" && (here.node == "" || m.isNode(m.node.name)) {
		here.node = m.node.name
	}
	if m.node.region != "" {
		here.region, here.zone, here.subzone = m.node.region, m.node.zone, m.node.subzone
	}
	return here
}

// isNode says whether a workload is on a node of that name.
func (m *model) isNode(name string) bool {
	_, is := m.nodes[name]
	return is
}

// foreign says whether something of a network is out of this node's reach.
func (m *model) foreign(network string) bool { return m.here.known && network != m.here.network }

// view tells from each other the places from which addresses belong to different
// workloads.
func (m *model) view() uint64 {
	if !m.here.known {
		return 0
	}
	return crc64.Checksum([]byte("network "+m.here.network), crc64.MakeTable(crc64.ECMA))
}

// matches says whether two places are in one scope. A zone's name means something within
// its region only, a subzone's within its zone.
func (l locality) matches(o locality, scope wapi.LoadBalancing_Scope) bool {
	switch scope {
	case wapi.LoadBalancing_REGION:
		return l.region == o.region
	case wapi.LoadBalancing_ZONE:
		return l.region == o.region && l.zone == o.zone
	case wapi.LoadBalancing_SUBZONE:
		return l.region == o.region && l.zone == o.zone && l.subzone == o.subzone
	case wapi.LoadBalancing_NODE:
		return l.node == o.node
	case wapi.LoadBalancing_CLUSTER:
		return l.cluster == o.cluster
	case wapi.LoadBalancing_NETWORK:
		return l.network == o.network
	}
	return false
}

// relocate finds out anew where this node is, and has everything derived again when that
// changed.
func (m *model) relocate() {
	if here := m.locate(); here != m.here {
		m.here = here
		m.allDirty()
	}
}

// setEnrolled takes the addresses of enrolled pods, each with all of its pod's.
func (m *model) setEnrolled(now map[netip.Addr][]netip.Addr) {
	for _, set := range []map[netip.Addr][]netip.Addr{m.enrolled, now} {
		for a := range set {
			if !slices.Equal(m.enrolled[a], now[a]) {
				m.dirty.peers[a] = struct{}{}
				m.dirty.pods = true
			}
		}
	}
	m.enrolled = now
}

// setHosts takes what the node's own addresses are now.
func (m *model) setHosts(now map[netip.Addr]struct{}) {
	for _, sets := range [][2]map[netip.Addr]struct{}{{m.hosts, now}, {now, m.hosts}} {
		for a := range sets[0] {
			if _, both := sets[1][a]; !both {
				m.dirty.peers[a] = struct{}{}
			}
		}
	}
	m.hosts = now
}
