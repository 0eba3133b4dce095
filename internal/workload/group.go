// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"iter"
	"slices"
	"strings"
)

// maxFew is how many resources are looked through one by one.
const maxFew = 16

// group is a set of resources. Most hold one: those of an address.
type group struct {
	one  *resource // nil: none
	more *others
}

type others struct {
	few  []*resource
	many map[*resource]struct{} // in place of few, once there were more than maxFew
}

func (g *group) has(r *resource) bool {
	if g.one == r || g.more == nil {
		return g.one == r
	}
	if _, ok := g.more.many[r]; ok {
		return true
	}
	return slices.Contains(g.more.few, r)
}

func (g *group) join(r *resource) {
	switch {
	case g.has(r):
	case g.one == nil:
		g.one = r
	case g.more == nil:
		g.more = &others{few: []*resource{r}}
	case g.more.many != nil:
		g.more.many[r] = struct{}{}
	case len(g.more.few) < maxFew:
		g.more.few = append(g.more.few, r)
	default:
		g.more.many = make(map[*resource]struct{}, 2*maxFew)
		for _, o := range g.more.few {
			g.more.many[o] = struct{}{}
		}
		g.more.many[r] = struct{}{}
		g.more.few = nil
	}
}

func (g *group) leave(r *resource) {
	if g.one == r {
		g.one = nil
		for o := range g.all() {
			g.one, r = o, o
			break
		}
	}
	if g.more == nil {
		return
	}
	delete(g.more.many, r)
	if i := slices.Index(g.more.few, r); i >= 0 {
		g.more.few = slices.Delete(g.more.few, i, i+1)
	}
	if len(g.more.few)+len(g.more.many) == 0 {
		g.more = nil
	}
}

func (g *group) len() int {
	n := 0
	if g.one != nil {
		n++
	}
	if g.more != nil {
		n += len(g.more.few) + len(g.more.many)
	}
	return n
}

// all is every resource of the group, in no order.
func (g *group) all() iter.Seq[*resource] {
	return func(yield func(*resource) bool) {
		if g.one != nil && !yield(g.one) || g.more == nil {
			return
		}
		for _, r := range g.more.few {
			if !yield(r) {
				return
			}
		}
		for r := range g.more.many {
			if !yield(r) {
				return
			}
		}
	}
}

func byName(a, b *resource) int { return strings.Compare(a.name, b.name) }

// sorted is the resources of a group by name, so that what is derived does not depend
// on the order in which they came.
func (g *group) sorted() []*resource {
	list := slices.AppendSeq(make([]*resource, 0, g.len()), g.all())
	slices.SortFunc(list, byName)
	return list
}

// lowest is the first of sorted, nil of an empty group.
func (g *group) lowest() *resource {
	var low *resource
	for r := range g.all() {
		if low == nil || r.name < low.name {
			low = r
		}
	}
	return low
}

// regroup has r join or leave the group of a key.
func regroup[K comparable](of map[K]group, key K, r *resource, join bool) {
	g := of[key]
	if join {
		g.join(r)
	} else {
		g.leave(r)
	}
	if g.one == nil {
		delete(of, key)
		return
	}
	of[key] = g
}
