// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kmesh-net/kmesh-node/proto/security"
	"github.com/kmesh-net/kmesh-node/proto/workload"
)

// What a control plane would send in workload mode.

const (
	benchNamespace = "bench"
	benchHost      = serviceName + ".bench.svc.cluster.local"
)

// benchService is the service of ads mode's figures, for workload mode.
func benchService() proto.Message {
	vip := service.Addr().As4()
	return &workload.Address{Type: &workload.Address_Service{Service: &workload.Service{
		Name: serviceName, Namespace: benchNamespace, Hostname: benchHost,
		Addresses: []*workload.NetworkAddress{{Address: vip[:]}},
		Ports:     []*workload.Port{{ServicePort: uint32(service.Port()), TargetPort: uint32(backends[0].Port())}},
	}}}
}

// serving makes a workload an endpoint of the service of the benchmark.
func serving(w *workload.Workload) *workload.Workload {
	if w.Services == nil {
		w.Services = map[string]*workload.PortList{}
	}
	w.Services[benchNamespace+"/"+benchHost] = &workload.PortList{Ports: []*workload.Port{
		{ServicePort: uint32(service.Port()), TargetPort: uint32(backends[0].Port())},
	}}
	return w
}

// newWorkload is a pod with a service account of its own.
func newWorkload(name string, addrs ...netip.Addr) *workload.Workload {
	w := &workload.Workload{
		Uid: "Kubernetes//Pod/" + benchNamespace + "/" + name, Name: name, Namespace: benchNamespace,
		ServiceAccount: name,
	}
	for _, a := range addrs {
		w.Addresses = append(w.Addresses, a.AsSlice())
	}
	return w
}

func asAddress(w *workload.Workload) proto.Message {
	return &workload.Address{Type: &workload.Address_Workload{Workload: w}}
}

// benchAddresses is the service with its backends.
func benchAddresses() []proto.Message {
	all := []proto.Message{benchService()}
	for i, b := range backends {
		all = append(all, asAddress(serving(newWorkload(fmt.Sprintf("backend-%d", i), b.Addr()))))
	}
	return all
}

// response is a DiscoveryResponse with resources of one type.
func response(resources []proto.Message) ([]byte, error) {
	r := &discoveryv3.DiscoveryResponse{}
	for _, m := range resources {
		a, err := anypb.New(m)
		if err != nil {
			return nil, err
		}
		r.Resources, r.TypeUrl = append(r.Resources, a), a.TypeUrl
	}
	return proto.Marshal(r)
}

// delta is a DeltaDiscoveryResponse that changes one resource.
func delta(name string, m proto.Message) ([]byte, error) {
	a, err := anypb.New(m)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: a.TypeUrl, Resources: []*discoveryv3.Resource{{Name: name, Resource: a}}})
}

// applyResponses applies the responses, each with resources of one type, in one command.
func (s *sandbox) applyResponses(name string, responses ...[]proto.Message) (ran, error) {
	dir := filepath.Join(s.stateDir, name)
	if err := os.RemoveAll(dir); err != nil {
		return ran{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return ran{}, err
	}
	for i, r := range responses {
		data, err := response(r)
		if err != nil {
			return ran{}, err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.pb", i)), data, 0o644); err != nil {
			return ran{}, err
		}
	}
	return s.node("apply", "-f", dir)
}

// decoyPolicies are n policies for the workloads that list them, of which only the
// last one, an ALLOW, holds for a packet from the client to port. The others are
// about principals, sources, namespaces and ports, in turn.
func decoyPolicies(n int, client *workload.Workload) (policies []proto.Message, names []string) {
	exact := func(s string) []*security.StringMatch {
		return []*security.StringMatch{{MatchType: &security.StringMatch_Exact{Exact: s}}}
	}
	principal := func(account string) []*security.StringMatch {
		return exact("cluster.local/ns/" + benchNamespace + "/sa/" + account)
	}
	for i := range n {
		match, action := &security.Match{}, security.Action_DENY
		switch {
		case i == n-1:
			match.Principals, action = principal(client.ServiceAccount), security.Action_ALLOW
		case i%4 == 0:
			match.Principals, action = principal(fmt.Sprintf("other-%d", i)), security.Action_ALLOW
		case i%4 == 1:
			match.SourceIps = []*security.Address{{Address: []byte{10, 100 + byte(i>>8), byte(i), 0}, Length: 24}}
		case i%4 == 2:
			match.Namespaces = exact(fmt.Sprintf("other-%d", i))
		case i%4 == 3:
			match.DestinationPorts = []uint32{uint32(20000 + i)}
		}
		p := &security.Authorization{
			Name: fmt.Sprintf("p-%04d", i), Namespace: benchNamespace,
			Scope: security.Scope_WORKLOAD_SELECTOR, Action: action,
			Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{match}}}}},
		}
		policies = append(policies, p)
		names = append(names, benchNamespace+"/"+p.Name)
	}
	return policies, names
}
