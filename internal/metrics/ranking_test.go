// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"slices"
	"testing"
)

func rowsOf(counts ...any) []Row {
	var l []Row
	for i := 0; i < len(counts); i += 2 {
		n := uint64(counts[i+1].(int))
		l = append(l, Row{Name: counts[i].(string), Weight: n, Counts: [maxCounts]uint64{n}, Level: 1})
	}
	return l
}

func TestCountersNeverGoBackWhoeverIsNamed(t *testing.T) {
	r := &Ranking{Limit: 2}
	for i, c := range []struct {
		rows   []Row
		named  []string
		rest   uint64
		summed int
	}{
		{rowsOf("a", 5, "b", 1, "c", 9), []string{"a", "c"}, 1, 1},
		{rowsOf("a", 5, "b", 100, "c", 9), []string{"a", "c"}, 100, 1}, // b has the most and stays
		{rowsOf("a", 5, "b", 100, "c", 9, "d", 7), []string{"a", "c"}, 107, 2},
		{rowsOf("a", 5, "b", 3, "c", 9, "d", 8), []string{"a", "c"}, 111, 2}, // b began anew
		{rowsOf("a", 5, "c", 9, "d", 9), []string{"a", "c"}, 112, 1},         // b went: what it had stays
		{rowsOf("c", 9, "d", 9, "e", 1), []string{"c", "d"}, 113, 1},         // a's place is free
		{rowsOf("c", 9), []string{"c"}, 113, 0},
		{nil, nil, 113, 0},
	} {
		s := r.Split(c.rows)
		var named []string
		for _, n := range s.Named {
			named = append(named, n.Name)
		}
		if !slices.Equal(named, c.named) || s.Rest.Counts[0] != c.rest || s.Summed != c.summed || s.Rest.Level != uint64(c.summed) {
			t.Errorf("%d: named %v, rest %d of %d, level %d; want %v, %d of %d", i, named, s.Rest.Counts[0], s.Summed, s.Rest.Level, c.named, c.rest, c.summed)
		}
	}
}

// A service may be called as all others together are: there is one such row all the same.
func TestTheNameOfTheRestIsNobodyElses(t *testing.T) {
	s := (&Ranking{Limit: 10}).Split(rowsOf(other, 7, "a", 1))
	seen := map[string]int{}
	s.each(func(r *Row) { seen[r.Name]++ })
	if seen[other] != 1 || seen["a"] != 1 || s.Rest.Counts[0] < 7 {
		t.Errorf("%v, rest %d", seen, s.Rest.Counts[0])
	}
}

func TestWhatARankingKeepsDoesNotGrow(t *testing.T) {
	r := &Ranking{Limit: 10}
	for i := range 1000 {
		var rows []Row
		for j := range 20 {
			rows = append(rows, Row{Name: fmt.Sprintf("%d-%d", i, j)})
		}
		r.Split(rows)
	}
	if len(r.named) != 10 || len(r.before) != 10 {
		t.Errorf("%d named, %d others", len(r.named), len(r.before))
	}
}
