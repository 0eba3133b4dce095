// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"net/netip"

	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// What is valid and cannot be honoured, by name.

func (m *model) noteService(r *resource, addresses int) {
	if len(r.s.GetAddresses()) == 0 {
		r.note("has no address of its own: connections to its workloads are theirs alone")
	} else if addresses < len(r.s.GetAddresses()) && m.here.known {
		for _, n := range r.s.GetAddresses() {
			if m.foreign(n.GetNetwork()) {
				r.note("address %s is of network %q: not served on this node", addressOf(n.GetAddress()), clip(n.GetNetwork()))
			}
		}
	}
	for _, e := range r.s.GetExtensions() {
		r.note("extension %q is not known", clip(e.GetName()))
	}
}

func (m *model) noteWorkload(r *resource) {
	w := r.w
	if len(r.addrs) == 0 && w.GetHostname() != "" {
		r.note("has the name %q and no address: kmesh-node resolves no names: it is no endpoint", clip(w.GetHostname()))
	}
	if m.foreign(w.GetNetwork()) {
		r.note("is of network %q: it is no endpoint on this node", clip(w.GetNetwork()))
	}
	if w.GetApplicationTunnel().GetProtocol() != wapi.ApplicationTunnel_NONE {
		r.note("application tunnel: connections go to it without")
	}
	if w.GetNativeTunnel() {
		r.note("speaks HBONE itself: connections go to it in plain text")
	}
	for _, e := range w.GetExtensions() {
		r.note("extension %q is not known", clip(e.GetName()))
	}
}

// conflicts warns of addresses that several resources claim.
func (m *model) conflicts(keys map[frontendKey]struct{}, peers map[netip.Addr]struct{}) []string {
	var list []string
	for k := range keys {
		if c := m.claims[k]; len(c) > 1 {
			for _, other := range c[1:] {
				list = append(list, other.owner.String()+": address "+k.String()+" is that of "+c[0].owner.String()+" as well, which has it")
			}
		}
	}
	for a := range peers {
		owners := m.owners(a)
		if len(owners) < 2 {
			continue
		}
		for _, w := range owners[1:] {
			list = append(list, w.String()+": address "+a.String()+" is that of "+owners[0].String()+" as well: it gives no identity")
		}
	}
	return list
}
