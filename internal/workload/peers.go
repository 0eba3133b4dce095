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
	if len(g) == 0 {
		return nil
	}
	list := make([]*resource, 0, len(g))
	for r := range g {
		if r.w.GetNetworkMode() != wapi.NetworkMode_HOST_NETWORK && !m.foreign(r.w.GetNetwork()) {
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
	if len(m.named[target{addr: a}]) > 0 && len(m.vips[a]) == 0 {
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
		if r.w.GetNamespace() == judged[0].w.GetNamespace() {
			selected = append(selected, r.w.GetAuthorizationPolicies()...)
		}
	}
	if len(judged) > 0 {
		p.flags |= peerWorkload
		p.set = setKey(judged[0].w.GetNamespace(), selected)
	}
	if len(owners) == 1 {
		p.workload = owners[0].num
		if p.flags&peerNode == 0 {
			p.identity = identityOf(owners[0].w)
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

// table gives keys their indexes in the image: stable while used, 0 for the zero key. An
// index that is no longer used keeps its key until another gets it, which is not
// before the publication after: peers of before may still name it.
type table[K comparable] struct {
	index map[K]uint32
	slots []slot[K]
	fresh bool // a key that the image may not have was taken
}

type slot[K comparable] struct {
	key  K
	refs int
	held bool // given up in this publication
}

func newTable[K comparable]() *table[K] {
	return &table[K]{index: map[K]uint32{}, slots: make([]slot[K], 1)}
}

// take returns the index of key for one more peer.
func (t *table[K]) take(key K) uint32 {
	var zero K
	if key == zero {
		return 0
	}
	i, ok := t.index[key]
	if !ok {
		i = t.place(key)
	}
	// One that nothing needed for a while may have gone from the image.
	if at := &t.slots[i]; !ok || at.refs == 0 && !at.held {
		t.fresh = true
	}
	t.slots[i].refs++
	return i
}

// maxIndex is above any index that is ever given out.
const maxIndex = 1 << 18

// adopt counts a peer that has index i already, and gives the index to key, which the
// peer should have, unless another key has it. An index of nobody stays in use.
func (t *table[K]) adopt(key K, i uint32) {
	var zero K
	if i == 0 || i > maxIndex {
		return
	}
	for i >= uint32(len(t.slots)) {
		t.slots = append(t.slots, slot[K]{})
	}
	t.slots[i].refs++
	if _, has := t.index[key]; has || key == zero || t.slots[i].key != zero {
		return
	}
	t.slots[i].key = key
	t.index[key] = i
}

func (t *table[K]) place(key K) uint32 {
	i := 1
	for i < len(t.slots) && (t.slots[i].refs > 0 || t.slots[i].held) {
		i++
	}
	if i == len(t.slots) {
		t.slots = append(t.slots, slot[K]{})
	}
	delete(t.index, t.slots[i].key)
	t.slots[i].key = key
	t.index[key] = uint32(i)
	return uint32(i)
}

func (t *table[K]) give(i uint32) {
	if i == 0 || i >= uint32(len(t.slots)) {
		return
	}
	t.slots[i].refs--
	if t.slots[i].refs == 0 {
		t.slots[i].held = true
	}
}

// holds says whether an index was given up.
func (t *table[K]) holds() bool {
	return slices.ContainsFunc(t.slots, func(s slot[K]) bool { return s.held })
}

// settle is called when no program run can still see what was there before: unused
// indexes may be given out.
func (t *table[K]) settle() {
	t.fresh = false
	for i := range t.slots {
		t.slots[i].held = false
	}
}

// keys are all keys by index; those that nothing needs are zero.
func (t *table[K]) keys() []K {
	list := make([]K, len(t.slots))
	for i, s := range t.slots {
		if s.refs > 0 || s.held {
			list[i] = s.key
		}
	}
	return list
}
