// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// PortView is one port of a service; target 0 is named by its workloads.
type PortView struct {
	ServicePort uint32 `json:"service_port"`
	TargetPort  uint32 `json:"target_port"`
}

// EndpointView is one endpoint as the data plane has it.
type EndpointView struct {
	Address  string  `json:"address"` // with its port
	Workload string  `json:"workload"`
	Share    float64 `json:"share"` // of all connects, 0 to 1
}

// FrontendView is one address and port as the data plane has it. Port 0 is every port
// of a workload's address.
type FrontendView struct {
	Address   string         `json:"address"`
	Port      uint16         `json:"port"`
	Endpoints []EndpointView `json:"endpoints"`
	Via       []EndpointView `json:"via"`
}

// ServiceView is a service as it was sent, and what became of it.
type ServiceView struct {
	Name          string         `json:"name"`
	Addresses     []string       `json:"addresses"`
	Ports         []PortView     `json:"ports"`
	Endpoints     []EndpointView `json:"endpoints"` // those of every frontend; share is of all of them
	Healthy       int            `json:"healthy"`
	Total         int            `json:"total"`
	Waypoint      string         `json:"waypoint"`
	LoadBalancing string         `json:"load_balancing"`
	Frontends     []FrontendView `json:"frontends"`
	Notes         []string       `json:"notes"`
	Resource      proto.Message  `json:"-"`
}

// WorkloadView is a workload as it was sent, and what became of it.
type WorkloadView struct {
	UID       string         `json:"uid"`
	Name      string         `json:"name"`
	Namespace string         `json:"namespace"`
	Addresses []string       `json:"addresses"`
	Node      string         `json:"node"`
	Identity  string         `json:"identity"` // as the data plane knows it by address; "" for none
	Status    string         `json:"status"`
	Services  []string       `json:"services"`
	Policies  []string       `json:"policies"` // that apply to it
	Waypoint  string         `json:"waypoint"`
	Locality  string         `json:"locality"`
	Frontends []FrontendView `json:"frontends"`
	Notes     []string       `json:"notes"`
	Resource  proto.Message  `json:"-"`
}

// Services reads all services back, by name.
func (s *Store) Services() ([]ServiceView, error) {
	var list []ServiceView
	err := s.fresh(func(l *live) error {
		for _, r := range l.model.sorted(Service) {
			list = append(list, l.serviceView(r))
		}
		return nil
	})
	return list, err
}

// Workloads reads all workloads back, by uid.
func (s *Store) Workloads() ([]WorkloadView, error) {
	var list []WorkloadView
	err := s.fresh(func(l *live) error {
		policies := l.model.sorted(Policy)
		for _, r := range l.model.sorted(Workload) {
			w := new(wapi.Workload)
			wire, err := s.maps.readMessage(r.id, r.size)
			if err == nil {
				err = proto.Unmarshal(wire, w)
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", r, err)
			}
			list = append(list, l.workloadView(r, w, policies))
		}
		return nil
	})
	return list, err
}

// fresh calls do with what the maps hold now: read anew, unless Open has just done so.
func (s *Store) fresh(do func(*live) error) error {
	return s.locked(func() error {
		if !s.opened || s.live.generation != s.maps.generation() {
			if err := s.load(); err != nil {
				return err
			}
		}
		s.opened = false
		return do(s.live)
	})
}

func (m *model) sorted(k Kind) []*resource {
	list := make([]*resource, 0, len(m.res[k]))
	for _, r := range m.res[k] {
		list = append(list, r)
	}
	slices.SortFunc(list, byName)
	return list
}

func (l *live) serviceView(r *resource) ServiceView {
	m := l.model
	v := ServiceView{Name: r.name, Addresses: []string{}, Ports: []PortView{}, Endpoints: []EndpointView{},
		Waypoint: m.waypointText(r), LoadBalancing: balanceText(r.s.GetLoadBalancing()),
		Frontends: l.frontendViews(r), Notes: m.told(r), Resource: r.s}
	for _, n := range r.s.GetAddresses() {
		a := addressOf(n.GetAddress()).String()
		if n.GetNetwork() != "" && n.GetNetwork() != m.here.network {
			a = n.GetNetwork() + "/" + a
		}
		v.Addresses = append(v.Addresses, a)
	}
	for _, p := range r.s.GetPorts() {
		v.Ports = append(v.Ports, PortView{p.GetServicePort(), p.GetTargetPort()})
	}
	for _, f := range v.Frontends {
		for _, e := range f.Endpoints {
			e.Share /= float64(len(v.Frontends))
			if i := slices.IndexFunc(v.Endpoints, func(o EndpointView) bool { return o.Address == e.Address }); i >= 0 {
				v.Endpoints[i].Share += e.Share
			} else {
				v.Endpoints = append(v.Endpoints, e)
			}
		}
	}
	for _, w := range m.membersOf(r) {
		v.Total++
		if w.w.healthy {
			v.Healthy++
		}
	}
	return v
}

func (l *live) frontendViews(r *resource) []FrontendView {
	list := []FrontendView{}
	for _, k := range r.got().claimed {
		f := l.frontends[k]
		if f == nil || uint32(f.value.resource) != r.num {
			continue
		}
		list = append(list, FrontendView{k.addr.String(), k.port, l.endpointViews(f.direct), l.endpointViews(f.via)})
	}
	slices.SortFunc(list, func(a, b FrontendView) int {
		if c := strings.Compare(a.Address, b.Address); c != 0 {
			return c
		}
		return int(a.Port) - int(b.Port)
	})
	return list
}

// endpointViews reads the shares back from the positions of a set.
func (l *live) endpointViews(s *set) []EndpointView {
	list := []EndpointView{}
	if s == nil || s.spec.n == 0 {
		return list
	}
	cells := make([]uint64, s.spec.n)
	for i := range s.spec.n {
		e := s.spec.at(i)
		cells[i] += uint64(e.cut)
		if e.alias < u32(s.spec.n) {
			cells[e.alias] += uint64(s.spec.total) - uint64(e.cut)
		}
	}
	for i := range s.spec.n {
		e := s.spec.at(i)
		v := EndpointView{Address: netip.AddrPortFrom(unmapped(raw(&e.ip)), hostOrder(e.port)).String(),
			Share: float64(cells[i]) / (float64(s.spec.n) * float64(s.spec.total))}
		if w := l.model.nums[uint32(e.workload)]; w != nil {
			v.Workload = w.name
		}
		list = append(list, v)
	}
	return list
}

// at is position p.
func (s spec) at(p uint32) endpointC {
	b := as[blockC]([]byte(s.blocks[int(p/blockSize)*size[blockC]():][:size[blockC]()]))
	return b.at[p%blockSize]
}

func (m *model) waypointText(r *resource) string {
	named := r.got().named
	if len(named) == 0 {
		return ""
	}
	t := named[0]
	last := named[len(named)-1]
	text := fmt.Sprintf("%s:%d", t, m.node.waypointPort)
	if t.addr.IsValid() {
		text = netip.AddrPortFrom(t.addr, m.node.waypointPort).String()
	}
	if last.service != "" && m.res[Service][last.service] == nil {
		text += " (unresolved)"
	}
	return text
}

func balanceText(lb *wapi.LoadBalancing) string {
	text := "round robin"
	if lb.GetMode() != wapi.LoadBalancing_UNSPECIFIED_MODE && len(lb.GetRoutingPreference()) > 0 {
		var scopes []string
		for _, s := range lb.GetRoutingPreference() {
			scopes = append(scopes, strings.ToLower(s.String()))
		}
		text = strings.ToLower(lb.GetMode().String()) + " " + strings.Join(scopes, ",")
	}
	if lb.GetHealthPolicy() == wapi.LoadBalancing_ALLOW_ALL {
		text += ", unhealthy too"
	}
	return text
}

func (l *live) workloadView(r *resource, w *wapi.Workload, policies []*resource) WorkloadView {
	m := l.model
	v := WorkloadView{UID: r.name, Name: w.GetName(), Namespace: w.GetNamespace(), Addresses: []string{}, Node: w.GetNode(),
		Status: strings.ToLower(w.GetStatus().String()), Services: []string{}, Policies: []string{},
		Waypoint: m.waypointText(r), Locality: r.w.place.Value().String(), Frontends: l.frontendViews(r), Notes: m.told(r), Resource: w}
	v.Services = slices.AppendSeq(v.Services, maps.Keys(w.GetServices()))
	slices.Sort(v.Services)
	for a := range r.addrs() {
		v.Addresses = append(v.Addresses, a.String())
		p, ok := l.peers[a]
		if !ok || uint32(p.workload) != r.num {
			continue
		}
		if i := int(p.identity); v.Identity == "" && i > 0 && i < len(l.identities.slots) {
			v.Identity = l.identities.slots[i].key.Principal()
		}
	}
	for _, p := range policies {
		if applies(p, &r.w) {
			v.Policies = append(v.Policies, p.name)
		}
	}
	return v
}
