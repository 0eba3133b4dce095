// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/xds"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
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

func BenchmarkOneWorkload(b *testing.B) {
	k := newKernel(b)
	s := k.open(Options{})
	if _, err := s.Apply(load(b, "testdata/ambient-scale-10000pods"), false); err != nil {
		b.Fatal(err)
	}
	var committed time.Duration
	var start time.Time
	s.at = func(step string) {
		if step == "retire" {
			committed += time.Since(start)
		}
	}
	r := s.live.model.sorted(Workload)[5000]
	for i := 0; b.Loop(); i++ {
		w := proto.Clone(r.w).(*wapi.Workload)
		w.Status = wapi.WorkloadStatus(i % 2)
		docs := []xds.Document{{Path: "d", Kind: xds.KindAddress, Resources: []proto.Message{
			&wapi.Address{Type: &wapi.Address_Workload{Workload: w}}}}}
		start = time.Now()
		if _, err := s.Apply(docs, false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(committed.Microseconds())/float64(b.N), "us/effective")
}
