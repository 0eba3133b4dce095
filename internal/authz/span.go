// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"cmp"
	"slices"
	"unsafe"
)

// key is a place on the line of one dimension: an address, a port (in lo), the rank of
// an identity or the index of a set (in lo).
type key struct{ hi, lo uint64 }

func (k key) compare(o key) int {
	if k.hi != o.hi {
		return cmp.Compare(k.hi, o.hi)
	}
	return cmp.Compare(k.lo, o.lo)
}

func (k key) less(o key) bool { return k.hi < o.hi || k.hi == o.hi && k.lo < o.lo }

// next is the key behind k; ok is false behind the last.
func (k key) next() (n key, ok bool) {
	n = key{k.hi, k.lo + 1}
	if n.lo == 0 {
		n.hi++
	}
	return n, n != key{}
}

func (k key) previous() key {
	if k.lo == 0 {
		return key{k.hi - 1, ^uint64(0)}
	}
	return key{k.hi, k.lo - 1}
}

// span is from..to, both included.
type span struct{ from, to key }

// set is what satisfies a condition: spans in order, none touching the next.
type set []span

// normal makes a set of any spans, whose memory it takes.
func normal(s []span) set {
	slices.SortFunc(s, func(a, b span) int { return a.from.compare(b.from) })
	out := s[:0]
	for _, p := range s {
		if len(out) > 0 {
			last := &out[len(out)-1]
			if n, ok := last.to.next(); !ok || !n.less(p.from) {
				if last.to.less(p.to) {
					last.to = p.to
				}
				continue
			}
		}
		out = append(out, p)
	}
	return out
}

func (s set) intersect(t set) set {
	var out set
	for i, j := 0, 0; i < len(s) && j < len(t); {
		from, to := s[i].from, s[i].to
		if from.less(t[j].from) {
			from = t[j].from
		}
		if t[j].to.less(to) {
			to = t[j].to
		}
		if !to.less(from) {
			out = append(out, span{from, to})
		}
		if s[i].to.less(t[j].to) {
			i++
		} else {
			j++
		}
	}
	return out
}

// outside is what of 0..last is not in s.
func (s set) outside(last key) set {
	var out set
	var from key
	for _, p := range s {
		if from.less(p.from) {
			out = append(out, span{from, p.from.previous()})
		}
		n, ok := p.to.next()
		if !ok {
			return out
		}
		from = n
	}
	if !last.less(from) {
		out = append(out, span{from, last})
	}
	return out
}

// within says whether all of s is in t.
func (s set) within(t set) bool {
	j := 0
	for _, p := range s {
		for j < len(t) && t[j].to.less(p.from) {
			j++
		}
		if j == len(t) || p.from.less(t[j].from) || t[j].to.less(p.to) {
			return false
		}
	}
	return true
}

// cond names a set of a dimension: equal sets have equal names.
type cond uint32

const (
	none cond = iota
	all
)

// line is one dimension: its last key, and the conditions there are.
type line struct {
	last  key
	sets  []set
	names map[string]cond
	pairs map[[2]cond]cond // of and
	spent *effort
}

// effort counts what was done and kept, in spans, so that a hostile policy ends.
type effort struct{ work, kept int }

func newLine(last key, spent *effort) *line {
	l := &line{last: last, names: map[string]cond{}, pairs: map[[2]cond]cond{}, spent: spent}
	l.name(nil)
	l.name(set{{to: last}})
	return l
}

// name gives a set its name. The memory of s is the line's from here on.
func (l *line) name(s set) cond {
	l.spent.work += 1 + len(s)
	raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(span{})))
	if c, ok := l.names[string(raw)]; ok {
		return c
	}
	c := cond(len(l.sets))
	l.spent.kept += 1 + len(s)
	l.sets = append(l.sets, s)
	l.names[unsafe.String(unsafe.SliceData(raw), len(raw))] = c
	return c
}

func (l *line) and(a, b cond) cond {
	switch {
	case a == b || b == all:
		return a
	case a == all:
		return b
	case a == none || b == none:
		return none
	case a > b:
		a, b = b, a
	}
	c, ok := l.pairs[[2]cond{a, b}]
	if !ok {
		l.spent.work += len(l.sets[a]) + len(l.sets[b])
		c = l.name(l.sets[a].intersect(l.sets[b]))
		l.pairs[[2]cond{a, b}] = c
	}
	return c
}

func (l *line) or(conds []cond) cond {
	var s []span
	for i, c := range conds {
		if c == all {
			return all
		}
		if i == 0 || c != conds[0] {
			s = append(s, l.sets[c]...)
		}
	}
	l.spent.work += len(s)
	return l.name(normal(s))
}

func (l *line) not(c cond) cond {
	l.spent.work += len(l.sets[c])
	return l.name(l.sets[c].outside(l.last))
}

func (l *line) within(a, b cond) bool {
	if a == b || b == all {
		return true
	}
	if a == all || b == none {
		return false
	}
	l.spent.work++
	return l.sets[a].within(l.sets[b])
}
