// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"encoding/binary"
	"unique"

	"github.com/kmesh-net/kmesh-node/internal/authz"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// traits is what of a workload's message decides where connections go. What many
// workloads have in common they share.
type traits struct {
	place    unique.Handle[locality]
	identity unique.Handle[authz.Identity]
	services []unique.Handle[membership]
	policies []string
	capacity uint32 // 1 where none is set

	healthy, hostNetwork bool
	odd                  bool // something is to be said of it: see noteWorkload
	waypoint             bool // it names one
}

// membership is one service of a workload.
type membership struct {
	service string
	ports   string // 4 bytes each: a port of the service, and where the workload serves it, not 0
}

// target is where a port of the service is served, 0 where nothing is said of it.
func (in membership) target(port uint16) uint16 {
	for p := in.ports; p != ""; p = p[4:] {
		if uint16(p[0])<<8|uint16(p[1]) == port {
			return uint16(p[2])<<8 | uint16(p[3])
		}
	}
	return 0
}

func traitsOf(w *wapi.Workload) *traits {
	l := w.GetLocality()
	t := &traits{
		place:    unique.Make(locality{l.GetRegion(), l.GetZone(), l.GetSubzone(), w.GetNode(), w.GetClusterId(), w.GetNetwork(), true}),
		identity: unique.Make(identityOf(w)), policies: w.GetAuthorizationPolicies(), capacity: 1,
		healthy: w.GetStatus() == wapi.WorkloadStatus_HEALTHY, hostNetwork: w.GetNetworkMode() == wapi.NetworkMode_HOST_NETWORK,
		odd: len(w.GetAddresses()) == 0 && w.GetHostname() != "" || w.GetNativeTunnel() || len(w.GetExtensions()) > 0 ||
			w.GetApplicationTunnel().GetProtocol() != wapi.ApplicationTunnel_NONE,
		waypoint: w.GetWaypoint() != nil,
	}
	if c := w.GetCapacity(); c != nil {
		t.capacity = c.GetValue()
	}
	if n := len(w.GetServices()); n > 0 {
		t.services = make([]unique.Handle[membership], 0, n)
	}
	for name, list := range w.GetServices() {
		var ports []byte
		for _, p := range list.GetPorts() {
			if p.GetTargetPort() != 0 {
				ports = binary.BigEndian.AppendUint16(ports, uint16(p.GetServicePort()))
				ports = binary.BigEndian.AppendUint16(ports, uint16(p.GetTargetPort()))
			}
		}
		t.services = append(t.services, unique.Make(membership{name, string(ports)}))
	}
	return t
}

// network and namespace are the workload's.
func (t *traits) network() string   { return t.place.Value().network }
func (t *traits) namespace() string { return t.identity.Value().Namespace }
