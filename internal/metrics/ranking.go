// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"cmp"
	"slices"
)

// other stands for all services, or policies, that are not named.
const other = "(other)"

// maxCounts is how many counters a row has at most.
const maxCounts = 6

// Row is what was counted of a service or a policy.
type Row struct {
	Name   string
	Weight uint64 // the most are named first
	Counts [maxCounts]uint64
	Level  uint64 // goes up and down
}

// Rows are those that are named, and one for all the others.
type Rows struct {
	Named  []Row
	Rest   Row // named other
	Summed int // rows in Rest
}

// Ranking bounds how many services Prometheus is told of by name. Who is named once stays
// named as long as he is there, and Rest counts on: no counter goes back because others
// have more. What it keeps is bounded by what is there.
type Ranking struct {
	Limit int

	named  map[string]bool
	before map[string][maxCounts]uint64 // of those in Rest
	rest   [maxCounts]uint64
}

// Split names rows, each of another name.
func (r *Ranking) Split(rows []Row) Rows {
	named := make(map[string]bool, min(len(rows), r.Limit))
	for i := range rows {
		if name := rows[i].Name; r.named[name] {
			named[name] = true
		}
	}
	var others []Row
	if len(named) < len(rows) {
		for i := range rows {
			if !named[rows[i].Name] {
				others = append(others, rows[i])
			}
		}
		slices.SortFunc(others, func(a, b Row) int {
			return cmp.Or(cmp.Compare(yes(a.Name == other), yes(b.Name == other)), cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Name, b.Name))
		})
		for len(others) > 0 && len(named) < r.Limit && others[0].Name != other { // which is the last
			named[others[0].Name] = true
			others = others[1:]
		}
	}
	out := Rows{Summed: len(others), Rest: Row{Name: other}}
	before := make(map[string][maxCounts]uint64, len(others))
	for i := range others {
		o := &others[i]
		was := r.before[o.Name]
		for c, now := range o.Counts {
			if now >= was[c] {
				now -= was[c]
			} // else it began anew
			r.rest[c] += now
		}
		before[o.Name] = o.Counts
		out.Rest.Level += o.Level
	}
	out.Rest.Counts = r.rest
	for i := range rows {
		if named[rows[i].Name] {
			out.Named = append(out.Named, rows[i])
		}
	}
	r.named, r.before = named, before
	return out
}

// each puts the named rows and, once there were any others, those.
func (r *Rows) each(do func(*Row)) {
	for i := range r.Named {
		do(&r.Named[i])
	}
	if r.Summed > 0 || r.Rest.Counts != [maxCounts]uint64{} {
		do(&r.Rest)
	}
}
