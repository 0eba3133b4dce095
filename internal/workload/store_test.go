// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// A large cluster comes at once, and applied again changes nothing.
func TestScale(t *testing.T) {
	k := newKernel(t)
	docs := load(t, "testdata/ambient-scale-10000pods")
	r := apply(t, k.open(Options{}), docs)
	if r.Counts[Workload] != (xds.Count{Updated: 10000}) || r.Counts[Service] != (xds.Count{Updated: 1000}) {
		t.Errorf("%+v", r.Counts)
	}
	s := k.open(Options{})
	generation := s.maps.generation()
	r = apply(t, s, docs)
	if r.Counts[Workload] != (xds.Count{Unchanged: 10000}) || r.Counts[Service] != (xds.Count{Unchanged: 1000}) {
		t.Errorf("again: %+v", r.Counts)
	}
	if s.maps.generation() != generation {
		t.Error("what is there was written again")
	}
	u, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Use{{"km_res", 11000, maxChunks}, {"km_frontend", 1000, maxFrontends}, {"km_block", 2000, maxBlocks}, {"km_peer", 10000, maxPeers}} {
		found := false
		for _, have := range u.Maps {
			found = found || have == want
		}
		if !found {
			t.Errorf("%+v lacks %+v", u.Maps, want)
		}
	}
}

// Verdicts are made anew when a peer or a policy changed, and only then.
func TestVerdicts(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	apply(t, s, delta(before()))
	last := uint64(s.maps.pstate.word)
	changed := func(what string, want bool) {
		t.Helper()
		now := uint64(s.maps.pstate.word)
		if (now != last) != want || now < last {
			t.Errorf("%s: word %d, before %d", what, now, last)
		}
		last = now
	}
	apply(t, s, delta(list(svc("new", "10.96.0.77", http))))
	changed("a service", false)
	apply(t, s, delta(list(pod("b", "10.0.0.2", in("s")+`service_account: "b" node: "n1"`))))
	changed("a workload's services", false)
	apply(t, s, delta(list(pod("b", "10.0.0.2", `service_account: "x"`))))
	changed("an identity", true)
	apply(t, s, delta(nil, "ns/two"))
	changed("a policy", true)
	apply(t, s, delta(nil, "b"))
	changed("an address", true)
	if err := s.Rejudge(); err != nil {
		t.Fatal(err)
	}
	changed("asked for", true)
}
