// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

// people is the identities of an Input in order of their principals, so that what a
// policy says of them is few spans of ranks. Rank 0 is nobody.
type people struct {
	ranks      []uint32 // of Input.Identities
	n          int      // ranks in all
	namespaces texts
	principals texts
	accounts   map[[2]string][]uint32 // namespace and service account: ranks
}

func newPeople(identities []Identity) *people {
	p := &people{ranks: make([]uint32, len(identities)), n: 1, accounts: map[[2]string][]uint32{}}
	type entry struct {
		principal string
		index     int
	}
	order := make([]entry, 0, len(identities))
	for i, id := range identities {
		if id != (Identity{}) {
			order = append(order, entry{id.Principal(), i})
		}
	}
	slices.SortFunc(order, func(a, b entry) int {
		x, y := &identities[a.index], &identities[b.index]
		return cmp.Or(cmp.Compare(a.principal, b.principal), cmp.Compare(x.Namespace, y.Namespace),
			cmp.Compare(x.ServiceAccount, y.ServiceAccount))
	})
	last := Identity{}
	for _, e := range order {
		id := identities[e.index]
		if id != last {
			rank := uint32(p.n)
			p.n++
			last = id
			p.namespaces.add(id.Namespace, rank)
			p.principals.add(e.principal, rank)
			who := [2]string{id.Namespace, id.ServiceAccount}
			p.accounts[who] = append(p.accounts[who], rank)
		}
		p.ranks[e.index] = uint32(p.n - 1)
	}
	p.namespaces.sort()
	p.principals.sort()
	return p
}

// texts finds the ranks whose text is matched. It is sorted by text and, once a suffix
// was asked for, by text read backwards too.
type texts struct {
	forth []text
	back  []text
	found map[pattern]set
}

// pattern is a StringMatch as a map's key.
type pattern struct {
	kind  byte
	value string
}

type text struct {
	s    string
	rank uint32
}

func byText(a, b text) int { return cmp.Or(strings.Compare(a.s, b.s), cmp.Compare(a.rank, b.rank)) }

// add leaves out the empty text, which nothing matches.
func (t *texts) add(s string, rank uint32) {
	if s != "" {
		t.forth = append(t.forth, text{s, rank})
	}
}

func (t *texts) sort() {
	if !slices.IsSortedFunc(t.forth, byText) {
		slices.SortFunc(t.forth, byText)
	}
}

// spans is the ranks that m matches. The answer is kept: policies repeat each other.
func (t *texts) spans(m *security.StringMatch) set {
	var p pattern
	switch m := m.GetMatchType().(type) {
	case *security.StringMatch_Exact:
		p = pattern{'e', m.Exact}
	case *security.StringMatch_Prefix:
		p = pattern{'p', m.Prefix}
	case *security.StringMatch_Suffix:
		p = pattern{'s', m.Suffix}
	case *security.StringMatch_Presence:
		p = pattern{'p', ""}
	default:
		return nil
	}
	s, ok := t.found[p]
	if ok {
		return s
	}
	found := t.find(p)
	ranks := make([]uint32, len(found))
	for i, e := range found {
		ranks[i] = e.rank
	}
	s = spansOf(ranks)
	if t.found == nil {
		t.found = map[pattern]set{}
	}
	t.found[p] = s
	return s
}

func (t *texts) find(p pattern) []text {
	switch p.kind {
	case 'e':
		return between(t.forth, p.value, func(s string) bool { return s == p.value })
	case 'p':
		return between(t.forth, p.value, func(s string) bool { return strings.HasPrefix(s, p.value) })
	}
	if t.back == nil {
		t.back = make([]text, len(t.forth))
		for i, e := range t.forth {
			t.back[i] = text{backwards(e.s), e.rank}
		}
		slices.SortFunc(t.back, byText)
	}
	prefix := backwards(p.value)
	return between(t.back, prefix, func(s string) bool { return strings.HasPrefix(s, prefix) })
}

// between is the run of t that begins at the first text not below from.
func between(t []text, from string, in func(string) bool) []text {
	a := sort.Search(len(t), func(i int) bool { return t[i].s >= from })
	n := sort.Search(len(t)-a, func(i int) bool { return !in(t[a+i].s) })
	return t[a : a+n]
}

func backwards(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// spansOf is ranks as spans, one for each run of neighbours.
func spansOf(ranks []uint32) set {
	slices.Sort(ranks)
	var out set
	for _, r := range ranks {
		if n := len(out); n > 0 && uint64(r) <= out[n-1].to.lo+1 {
			out[n-1].to.lo = uint64(r)
			continue
		}
		out = append(out, span{key{lo: uint64(r)}, key{lo: uint64(r)}})
	}
	return out
}
