// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"encoding/binary"
	"iter"
	"strings"
	"unique"

	"github.com/kmesh-net/kmesh-node/internal/authz"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// traits is what of a workload's message decides where connections go. What many
// workloads have in common they share.
type traits struct {
	place    unique.Handle[locality]
	bearer   unique.Handle[bearer]
	first    unique.Handle[membership] // of its services; the others are derived.services
	capacity uint32                    // 1 where none is set

	healthy, hostNetwork bool
	odd                  bool // something is to be said of it: see noteWorkload
	waypoint             bool // it names one
}

// bearer is who a workload is, and what it asks for.
type bearer struct {
	identity authz.Identity
	policies string // names, with a NUL behind each
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

func (r *resource) takeTraits(w *wapi.Workload) {
	l := w.GetLocality()
	policies := ""
	for _, name := range w.GetAuthorizationPolicies() {
		policies += name + "\x00"
	}
	t := &r.w
	*t = traits{
		place:    unique.Make(locality{l.GetRegion(), l.GetZone(), l.GetSubzone(), w.GetNode(), w.GetClusterId(), w.GetNetwork(), true}),
		bearer:   unique.Make(bearer{identityOf(w), policies}),
		capacity: 1,
		healthy:  w.GetStatus() == wapi.WorkloadStatus_HEALTHY, hostNetwork: w.GetNetworkMode() == wapi.NetworkMode_HOST_NETWORK,
		odd: len(w.GetAddresses()) == 0 && w.GetHostname() != "" || w.GetNativeTunnel() || len(w.GetExtensions()) > 0 ||
			w.GetApplicationTunnel().GetProtocol() != wapi.ApplicationTunnel_NONE,
		waypoint: w.GetWaypoint() != nil,
	}
	if c := w.GetCapacity(); c != nil {
		t.capacity = c.GetValue()
	}
	for name, list := range w.GetServices() {
		var ports []byte
		for _, p := range list.GetPorts() {
			if p.GetTargetPort() != 0 {
				ports = binary.BigEndian.AppendUint16(ports, uint16(p.GetServicePort()))
				ports = binary.BigEndian.AppendUint16(ports, uint16(p.GetTargetPort()))
			}
		}
		in := unique.Make(membership{name, string(ports)})
		if t.first == none {
			t.first = in
			continue
		}
		d := r.derived()
		d.services = append(d.services, in)
	}
}

var none unique.Handle[membership]

// services are the services that a workload names.
func (r *resource) services() iter.Seq[membership] {
	return func(yield func(membership) bool) {
		if r.w.first == none || !yield(r.w.first.Value()) || r.more == nil {
			return
		}
		for _, in := range r.more.services {
			if !yield(in.Value()) {
				return
			}
		}
	}
}

// network and namespace are the workload's.
func (t *traits) network() string   { return t.place.Value().network }
func (t *traits) namespace() string { return t.bearer.Value().identity.Namespace }

// policies are those that the workload names.
func (t *traits) policies() []string {
	all := t.bearer.Value().policies
	if all == "" {
		return nil
	}
	names := strings.Split(all, "\x00")
	return names[:len(names)-1]
}
