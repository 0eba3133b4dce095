// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/xds"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// What a command pays before it does anything.
func BenchmarkOpen(b *testing.B) {
	k := newKernel(b)
	apply(b, k.open(Options{}), load(b, "testdata/ambient-scale-10000pods"))
	for b.Loop() {
		s, err := Open(k.fd, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// All of a large cluster at once.
func BenchmarkApplyAll(b *testing.B) {
	docs := load(b, "testdata/ambient-scale-10000pods")
	for b.Loop() {
		b.StopTimer()
		s := newKernel(b).open(Options{})
		b.StartTimer()
		apply(b, s, docs)
	}
}

// One changed workload of a large cluster: until it is effective, and until what was
// there before is gone.
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
		w := k.message(s, r)
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
