// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/kmesh-net/kmesh-node/proto/core"
	"github.com/kmesh-net/kmesh-node/proto/endpoint"
)

// aboutEndpoints begins every note that belongs to a cluster's endpoints, so that
// new endpoints can replace the notes of the old ones.
const aboutEndpoints = "endpoints: "

// newAssignment is a ClusterLoadAssignment as a control plane sent it.
type newAssignment struct {
	msg    *endpoint.ClusterLoadAssignment
	labels labels // which transport socket the endpoints ask for
	notes  []string
}

// toAssignment converts a ClusterLoadAssignment of Envoy's.
func toAssignment(a *endpointv3.ClusterLoadAssignment) (*newAssignment, error) {
	n := &newAssignment{msg: &endpoint.ClusterLoadAssignment{
		ClusterName: a.GetClusterName(),
		Endpoints:   make([]*endpoint.LocalityLbEndpoints, 0, len(a.GetEndpoints())),
	}}
	for i, l := range a.GetEndpoints() {
		if err := n.addLocality(l); err != nil {
			return nil, inItem("endpoints", i, err)
		}
	}
	for _, d := range a.GetPolicy().GetDropOverloads() {
		n.note("policy drop_overloads %s: nothing is dropped", Clip(d.GetCategory()))
	}
	n.noteUnresolved()
	return n, nil
}

func (n *newAssignment) note(format string, args ...any) {
	n.notes = append(n.notes, aboutEndpoints+fmt.Sprintf(format, args...))
}

func (n *newAssignment) addLocality(l *endpointv3.LocalityLbEndpoints) error {
	list := l.GetLbEndpoints()
	switch c := l.GetLbConfig().(type) {
	case *endpointv3.LocalityLbEndpoints_LoadBalancerEndpoints:
		//lint:ignore SA1019 it may be sent, and these endpoints count then
		list = c.LoadBalancerEndpoints.GetLbEndpoints()
	case *endpointv3.LocalityLbEndpoints_LedsClusterLocalityConfig:
		n.note("locality %s: its endpoints stand in another collection, which is not read", localityName(l.GetLocality()))
	}
	m := &endpoint.LocalityLbEndpoints{
		Priority:    l.GetPriority(),
		LbEndpoints: make([]*endpoint.Endpoint, 0, len(list)),
	}
	if w := l.GetLoadBalancingWeight(); w != nil {
		if m.LoadBalancingWeight = w.GetValue(); w.GetValue() == 0 {
			return in("load_balancing_weight", wrong("0 is less than 1"))
		}
	}
	if loc := l.GetLocality(); loc.GetRegion() != "" || loc.GetZone() != "" || loc.GetSubZone() != "" {
		m.Locality = &core.Locality{Region: loc.GetRegion(), Zone: loc.GetZone(), SubZone: loc.GetSubZone()}
	}
	for i, e := range list {
		if err := n.addEndpoint(m, e); err != nil {
			return inItem("lb_endpoints", i, err)
		}
	}
	n.msg.Endpoints = append(n.msg.Endpoints, m)
	return nil
}

func (n *newAssignment) addEndpoint(m *endpoint.LocalityLbEndpoints, e *endpointv3.LbEndpoint) error {
	out := &endpoint.Endpoint{}
	if w := e.GetLoadBalancingWeight(); w != nil {
		if out.LoadBalancingWeight = w.GetValue(); w.GetValue() == 0 {
			return in("load_balancing_weight", wrong("0 is less than 1"))
		}
	}
	switch e.GetHealthStatus() {
	case corev3.HealthStatus_UNHEALTHY, corev3.HealthStatus_DRAINING, corev3.HealthStatus_TIMEOUT:
		out.Unhealthy = true
	}
	if err := n.labels.add(e.GetMetadata()); err != nil {
		return err
	}
	m.LbEndpoints = append(m.LbEndpoints, out)
	if id, ok := e.GetHostIdentifier().(*endpointv3.LbEndpoint_EndpointName); ok {
		out.Unresolved = "endpoint name " + Clip(id.EndpointName)
		return nil
	}
	var err error
	out.Address, out.Unresolved, err = toAddress(e.GetEndpoint().GetAddress())
	if err != nil {
		return in("endpoint.address", err)
	}
	if out.Address.GetProtocol() == core.SocketAddress_UDP {
		out.Address, out.Unresolved = nil, textOf(out.Address, "")
	}
	return in("endpoint", n.addFurther(m, out, e.GetEndpoint().GetAdditionalAddresses()))
}

// addFurther adds the further addresses of one endpoint, each as an endpoint of its
// own: a connection takes only those of its family. A second address of the same
// family would double its share.
func (n *newAssignment) addFurther(m *endpoint.LocalityLbEndpoints, first *endpoint.Endpoint, further []*endpointv3.Endpoint_AdditionalAddress) error {
	seen := map[int]bool{}
	if first.Address != nil && len(further) > 0 {
		seen[len(first.Address.GetIpv6())] = true
	}
	for i, f := range further {
		a, text, err := toAddress(f.GetAddress())
		if err != nil {
			return inItem("additional_addresses", i, in("address", err))
		}
		if a == nil || seen[len(a.GetIpv6())] {
			n.note("additional address %s is not used", textOf(a, text))
			continue
		}
		seen[len(a.GetIpv6())] = true
		m.LbEndpoints = append(m.LbEndpoints, &endpoint.Endpoint{
			Address:             a,
			LoadBalancingWeight: first.LoadBalancingWeight,
			Unhealthy:           first.Unhealthy,
		})
	}
	return nil
}

// noteUnresolved names the endpoints that are no IP addresses, in one note.
func (n *newAssignment) noteUnresolved() {
	count, total, first := 0, 0, ""
	for _, l := range n.msg.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			total++
			if e.GetUnresolved() == "" {
				continue
			}
			if count++; first == "" {
				first = e.GetUnresolved()
			}
		}
	}
	if count == 0 {
		return
	}
	what := first
	if count > 1 {
		what = fmt.Sprintf("%s and %d more", first, count-1)
	}
	if count == total {
		n.note("%s: no TCP address, and kmesh-node resolves no names%s", what, passes)
		return
	}
	n.note("%s: no TCP address: no connections go there", what)
}

func localityName(l *corev3.Locality) string {
	return Clip(l.GetRegion() + "/" + l.GetZone() + "/" + l.GetSubZone())
}
