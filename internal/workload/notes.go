// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"net/netip"
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/xds"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// What is valid and cannot be honoured, by name.

func (m *model) noteService(r *resource, addresses int) {
	if len(r.s.GetAddresses()) == 0 {
		r.note("has no address of its own: connections to its workloads are theirs alone")
	} else if addresses < len(r.s.GetAddresses()) && m.here.known {
		for _, n := range r.s.GetAddresses() {
			if m.foreign(n.GetNetwork()) {
				r.note("address %s is of network %q: not served on this node", addressOf(n.GetAddress()), xds.Clip(n.GetNetwork()))
			}
		}
	}
	for _, e := range r.s.GetExtensions() {
		r.note("extension %q is not known", xds.Clip(e.GetName()))
	}
}

func (m *model) noteWorkload(r *resource) {
	if m.foreign(r.w.network()) {
		r.note("is of network %q: it is no endpoint on this node", xds.Clip(r.w.network()))
	}
	if !r.w.odd {
		return
	}
	w := r.workload()
	if !r.hasAddr && w.GetHostname() != "" {
		r.note("has the name %q and no address: kmesh-node resolves no names: it is no endpoint", xds.Clip(w.GetHostname()))
	}
	if w.GetApplicationTunnel().GetProtocol() != wapi.ApplicationTunnel_NONE {
		r.note("application tunnel: connections go to it without")
	}
	if w.GetNativeTunnel() {
		r.note("speaks HBONE itself: connections go to it in plain text")
	}
	for _, e := range w.GetExtensions() {
		r.note("extension %q is not known", xds.Clip(e.GetName()))
	}
}

// conflicts warns of addresses that several resources claim.
func (m *model) conflicts(keys map[frontendKey]struct{}, peers map[netip.Addr]struct{}) []string {
	var list []string
	for k := range keys {
		if len(m.claims[k]) < 2 {
			continue
		}
		for _, c := range m.claims[k] {
			list = append(list, m.taken(c.owner, k)...)
		}
	}
	for a := range peers {
		if g := m.addrs[a]; g.len() < 2 {
			continue
		}
		for _, w := range m.owners(a) {
			list = append(list, m.shared(w, a)...)
		}
	}
	return list
}

// taken says that another resource has a frontend that r claims.
func (m *model) taken(r *resource, k frontendKey) []string {
	first := m.claims[k][0].owner
	if first == r {
		return nil
	}
	return []string{r.String() + ": address " + k.String() + " is that of " + first.String() + " as well, which has it"}
}

// shared says that a workload came to an address before w, by name.
func (m *model) shared(w *resource, a netip.Addr) []string {
	owners := m.owners(a)
	if len(owners) < 2 || owners[0] == w || !slices.Contains(owners, w) {
		return nil
	}
	return []string{w.String() + ": address " + a.String() + " is that of " + owners[0].String() + " as well: it gives no identity"}
}

// told is what there is to say of r, never nil.
func (m *model) told(r *resource) []string {
	list := []string{}
	d := r.got()
	list = append(append(list, d.warnings...), d.notes...)
	for _, k := range d.claimed {
		list = append(list, m.taken(r, k)...)
	}
	if r.kind == Workload {
		for a := range r.addrs() {
			list = append(list, m.shared(r, a)...)
		}
	}
	return list
}
