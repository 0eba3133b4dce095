// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/proto/workload"
)

// Ambient returns the responses of a first push to workload mode: services and
// workloads in one, and no policies.
func (f Fleet) Ambient() ([]Response, error) { return f.ambient(0, f.Services, f.Of) }

// AmbientOf is a push to workload mode of service i alone, with these endpoints.
func (f Fleet) AmbientOf(i int, endpoints ...netip.AddrPort) ([]Response, error) {
	return f.ambient(i, i+1, func(int) []netip.AddrPort { return endpoints })
}

func (f Fleet) ambient(from, to int, endpoints func(i int) []netip.AddrPort) ([]Response, error) {
	var all []proto.Message
	for i := from; i < to; i++ {
		all = append(all, f.service(i))
		for k, at := range endpoints(i) {
			all = append(all, f.workload(i, k, at))
		}
	}
	return pack([]string{Address, Authorization}, all, nil)
}

// WorkloadOf is a push of endpoint k of service i alone, which has this address now.
func (f Fleet) WorkloadOf(i, k int, at netip.AddrPort) (Response, error) {
	return NewResponse(Address, f.workload(i, k, at))
}

func (f Fleet) service(i int) *workload.Address {
	vip := f.VIP(i)
	return &workload.Address{Type: &workload.Address_Service{Service: &workload.Service{
		Name: fmt.Sprintf("s%d", i), Namespace: "ns", Hostname: f.Host(i),
		Addresses:       []*workload.NetworkAddress{{Address: vip.Addr().AsSlice()}},
		Ports:           []*workload.Port{{ServicePort: uint32(vip.Port()), TargetPort: endpointPort}},
		SubjectAltNames: []string{fmt.Sprintf("spiffe://cluster.local/ns/ns/sa/s%d", i)},
	}}}
}

func (f Fleet) workload(i, k int, at netip.AddrPort) *workload.Address {
	name := fmt.Sprintf("s%d-%d", i, k)
	return &workload.Address{Type: &workload.Address_Workload{Workload: &workload.Workload{
		Uid: "Kubernetes//Pod/ns/" + name, Name: name, Namespace: "ns",
		Addresses:      [][]byte{at.Addr().AsSlice()},
		ServiceAccount: fmt.Sprintf("s%d", i), Node: fmt.Sprintf("node%d", k),
		CanonicalName: fmt.Sprintf("s%d", i), CanonicalRevision: "v1",
		WorkloadType: workload.WorkloadType_POD, WorkloadName: name,
		Services: map[string]*workload.PortList{"ns/" + f.Host(i): {
			Ports: []*workload.Port{{ServicePort: servicePort, TargetPort: uint32(at.Port())}}}},
		ClusterId: "Kubernetes",
		Locality:  &workload.Locality{Region: "region1", Zone: fmt.Sprintf("zone%d", k%2+1)},
	}}}
}
