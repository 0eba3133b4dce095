// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"testing"
	"time"
)

func TestScale(t *testing.T) {
	k := newKernel(t)
	start := time.Now()
	docs := load(t, "testdata/ambient-scale-10000pods")
	parsed := time.Now()
	s := k.open(Options{})
	opened := time.Now()
	r, err := s.Apply(docs, false)
	if err != nil {
		t.Fatal(err)
	}
	applied := time.Now()
	t.Logf("parse %v open %v apply %v: %+v, %d warnings, %d notes", parsed.Sub(start), opened.Sub(parsed), applied.Sub(opened), r.Counts, len(r.Warnings), len(r.Notes))
	start = time.Now()
	s2 := k.open(Options{})
	t.Logf("open again %v", time.Since(start))
	start = time.Now()
	r, err = s2.Apply(docs, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("apply again %v %+v", time.Since(start), r.Counts)
	u, err := s2.Stats()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", u)
}
