// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/kmesh-net/kmesh-node/internal/authz"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

type identity = authz.Identity

const defaultTrustDomain = "cluster.local"

// peer is what is known of an address.
type peer struct {
	identity authz.Identity
	set      string // key of a policy set, "" for that of unknown pods
	flags    uint32
	workload uint32
}

func identityOf(w *wapi.Workload) authz.Identity {
	td := w.GetTrustDomain()
	if td == "" {
		td = defaultTrustDomain
	}
	return authz.Identity{TrustDomain: td, Namespace: w.GetNamespace(), ServiceAccount: w.GetServiceAccount()}
}

// owners are the workloads whose own an address is: not of those that share their
// node's, nor of another network.
func (m *model) owners(a netip.Addr) []*resource {
	g := m.addrs[a]
	if g.one == nil {
		return nil
	}
	list := make([]*resource, 0, g.len())
	for r := range g.all() {
		if !r.w.hostNetwork && !m.foreign(r.w.network()) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, byName)
	return list
}

// kin are the workloads of the enrolled pods that an address without a workload of its
// own is of: one of the link alone, or one that the control plane does not know. What
// applies to such a pod applies there too.
func (m *model) kin(a netip.Addr) []*resource {
	var list []*resource
	for _, other := range m.enrolled[a] {
		list = append(list, m.owners(other)...)
	}
	slices.SortFunc(list, byName)
	return slices.Compact(list)
}

// peerOf says what is known of an address; ok is false for nothing. Of several
// workloads none gives its identity, and all of the first one's namespace give their
// policies.
func (m *model) peerOf(a netip.Addr) (p peer, ok bool) {
	if _, own := m.hosts[a]; own {
		p.flags |= peerNode
	}
	if _, vip := m.vips[a]; !vip && m.isNamed(target{addr: a}) {
		p.flags |= peerWaypoint
	}
	owners := m.owners(a)
	for _, r := range owners {
		if m.isWaypoint(r) {
			p.flags |= peerWaypoint
		}
	}
	judged := owners
	if len(judged) == 0 && p.flags&peerNode == 0 {
		judged = m.kin(a)
	}
	var selected []string
	for _, r := range judged {
		if r.w.namespace() == judged[0].w.namespace() {
			selected = append(selected, r.w.policies()...)
		}
	}
	if len(judged) > 0 {
		p.flags |= peerWorkload
		p.set = setKey(judged[0].w.namespace(), selected)
	}
	if len(owners) == 1 {
		p.workload = owners[0].num
		if p.flags&peerNode == 0 {
			p.identity = owners[0].w.bearer.Value().identity
		}
	}
	return p, p.flags != 0
}

// setKey and setOf are a policy set as a string, which compares.
func setKey(namespace string, selected []string) string {
	selected = slices.Clone(selected)
	slices.Sort(selected)
	return namespace + "\x00" + strings.Join(slices.Compact(selected), "\x00")
}

func setOf(key string) authz.Set {
	if key == "" {
		return authz.Set{}
	}
	parts := strings.Split(key, "\x00")
	s := authz.Set{Known: true, Namespace: parts[0]}
	if len(parts) > 2 || parts[1] != "" {
		s.Selected = parts[1:]
	}
	return s
}
