// SPDX-License-Identifier: Apache-2.0

package workload

import "testing"

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
