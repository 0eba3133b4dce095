// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"testing"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/served"
)

// counted are the counters of services, by name.
func counted(t *testing.T, s *Store) string {
	t.Helper()
	l, err := s.Served()
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, c := range l {
		text += fmt.Sprintf("%s %d ", c.Service, c.Connects)
	}
	return text
}

// Counters of a service outlive publications and writers, and go when it goes.
func TestServicesAreCounted(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	apply(t, s, delta(list(svc("a", "10.0.0.1", ""), svc("b", "10.0.0.2", ""), pod("p", "10.1.0.1", in("a")))))
	if got := counted(t, s); got != "ns/a 0 ns/b 0 " {
		t.Fatalf("at first %q", got)
	}
	a, b := s.live.model.res[Service]["ns/a"].num, s.live.model.res[Service]["ns/b"].num
	for num, n := range map[uint32]u64{a: 7, b: 9} {
		c := servedC{ok: n, latency_ns: 10 * n, refused: 2, timeouts: 3, errors: 4}
		if err := bpfmap.Replace(k.fds["km_served"], raw(&num), raw(&c)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := s.Served()
	want := served.Counters{Service: "ns/a", Connects: 7, Latency: 70 * time.Nanosecond, Refused: 2, Timeouts: 3, Errors: 4}
	if err != nil || len(l) != 2 || l[0] != want || l[0].Failures() != 9 {
		t.Errorf("%+v, %v", l, err)
	}
	apply(t, s, delta(list(svc("a", "10.0.0.7", ""), svc("c", "10.0.0.3", "")), "ns/b"))
	if got := counted(t, s); got != "ns/a 7 ns/c 0 " {
		t.Errorf("after a push %q", got)
	}
	s = k.open(Options{})
	if got := counted(t, s); got != "ns/a 7 ns/c 0 " {
		t.Errorf("another writer's are %q", got)
	}
	apply(t, s, delta(list(svc("b", "10.0.0.2", "")), "ns/c"))
	if got := counted(t, s); got != "ns/a 7 ns/b 0 " {
		t.Errorf("one that is back goes on at %q", got)
	}
}

// A service that lacks its counters, for a writer of before had none, gets them.
func TestCountersThatLackAreMade(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	apply(t, s, delta(list(svc("a", "10.0.0.1", ""))))
	num := s.live.model.res[Service]["ns/a"].num
	stray := num + 100
	c := servedC{}
	if err := bpfmap.Insert(k.fds["km_served"], raw(&stray), raw(&c)); err != nil {
		t.Fatal(err)
	}
	if err := bpfmap.Delete(k.fds["km_served"], raw(&num)); err != nil {
		t.Fatal(err)
	}
	s = k.open(Options{})
	apply(t, s, delta(list(svc("b", "10.0.0.2", ""))))
	if got := counted(t, s); got != "ns/a 0 ns/b 0 " {
		t.Error(got)
	}
	if err := bpfmap.Lookup(k.fds["km_served"], raw(&stray), raw(&c)); err == nil {
		t.Error("what is no service's stays")
	}
}

// More than there is room for are not counted, and published all the same.
func TestServicesBeyondTheRoomAreNotCounted(t *testing.T) {
	const room = 100
	l := newLive()
	p := &plan{}
	var changes []change
	for i := range room + 10 {
		changes = append(changes, change{new: &resource{kind: Service, num: uint32(i + 1)}})
	}
	l.countersChecked, l.room = true, map[string]int{"km_served": room}
	l.planServed(p, changes)
	if len(p.served) != room {
		t.Errorf("%d are counted", len(p.served))
	}
}
