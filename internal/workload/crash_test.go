// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/authz"
	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// before and after are two configurations that differ in all that a publication writes.
func before() []proto.Message {
	return list(
		svc("s", vip, http+`waypoint { hostname { namespace: "ns" hostname: "w" } }`),
		svc("t", "10.96.0.2", http),
		svc("w", "10.96.0.9", "ports { service_port: 15008 target_port: 15008 }"),
		pod("a", "10.0.0.1", in("s")+`service_account: "a" authorization_policies: "ns/one"`),
		pod("b", "10.0.0.2", in("s")+in("t")+`service_account: "b" node: "n1"`),
		pod("w1", "10.0.0.9", in("w")+`service_account: "w"`),
		pod("v", "10.0.0.5", `service_account: "v" waypoint { hostname { namespace: "ns" hostname: "w" } }`),
		policy(`name: "one" namespace: "ns" scope: WORKLOAD_SELECTOR groups { rules { matches { principals { suffix: "sa/b" } } } }`),
		policy(`name: "two" namespace: "ns" scope: NAMESPACE action: DENY groups { rules { matches { principals { suffix: "sa/v" } } } }`))
}

func after() (changed []proto.Message, removed []string) {
	return list(
		svc("s", vip, http+`waypoint { address { address: "\n\x00\x00\x63" } }`),
		svc("u", "10.96.0.3", http),
		pod("a", "10.0.0.1 10.0.0.11", in("s", 80, 9)+in("u")+`service_account: "other" authorization_policies: "ns/one" authorization_policies: "ns/three"`),
		pod("c", "10.0.0.3", in("s")+in("t")+`service_account: "c" capacity { value: 3 }`),
		policy(`name: "one" namespace: "ns" scope: WORKLOAD_SELECTOR groups { rules { matches { principals { suffix: "sa/c" } } } }`),
		policy(`name: "three" namespace: "ns" scope: WORKLOAD_SELECTOR action: DENY groups { rules { matches { principals { suffix: "sa/other" } } } }`),
	), []string{"ns/t", "v", "ns/two", "b"}
}

type killed struct{ step string }

// die ends a writer at its nth step; it says whether there was one.
func die(s *Store, nth int, do func() error) (step string, died bool, err error) {
	n := 0
	s.at = func(step string) {
		if n == nth {
			panic(killed{step})
		}
		n++
	}
	defer func() {
		if k, ok := recover().(killed); ok {
			step, died = k.step, true
		}
	}()
	return "", false, do()
}

// A writer that is killed at any point leaves what the next one makes whole.
func TestKilledAnywhere(t *testing.T) {
	hosts := []netip.Addr{netip.MustParseAddr("10.0.0.254")}
	dump := func(s *Store) string {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.live.dump()
	}
	changed, removed := after()
	var steps []string
	for nth := 0; ; nth++ {
		k := newKernel(t)
		pod := enrol(k, 0x1234, "10.0.0.9", "10.0.0.99")
		s := k.open(Options{HostAddresses: fixed(hosts...)})
		apply(t, s, delta(before()))
		old := dump(s)
		step, died, err := die(s, nth, func() error {
			_, err := s.Apply(delta(changed, removed...), false)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if !died {
			break
		}
		steps = append(steps, step)

		next := k.open(Options{HostAddresses: fixed(hosts...)})
		refresh(t, next)
		got, want := dump(next), old
		if slices.Contains(steps, "retire") { // it was committed
			want = ""
		}
		if want != "" && got != want {
			t.Errorf("killed at %s:\n%s\nwant\n%s", step, got, want)
		}
		k.checkWhole(next)

		// The same by a third one, and then the change for good.
		third := k.open(Options{})
		generation := third.maps.generation()
		refresh(t, third)
		if third.maps.generation() != generation {
			t.Errorf("killed at %s: a refresh of what is whole wrote", step)
		}
		apply(t, third, delta(changed, removed...))
		k.checkWhole(third)
		fresh := newKernel(t)
		enrol(fresh, 0x1234, "10.0.0.9", "10.0.0.99")
		whole := fresh.open(Options{HostAddresses: fixed(hosts...)})
		apply(t, whole, delta(before()))
		apply(t, whole, delta(changed, removed...))
		if dump(third) != dump(whole) {
			t.Errorf("killed at %s, then whole:\n%s\nwant\n%s", step, dump(third), dump(whole))
		}
		if want == "" && got != dump(whole) {
			t.Errorf("killed at %s, after the commit:\n%s\nwant\n%s", step, got, dump(whole))
		}
		pod.check("after " + step)
	}
	for _, want := range []string{"sweep", "messages", "blocks", "image", "flip", "peers", "verdicts", "frontends", "waypoints", "commit", "retire", "end"} {
		if !slices.Contains(steps, want) {
			t.Errorf("no step %s among %q", want, steps)
		}
	}
}

func apply(t testing.TB, s *Store, docs []xds.Document) *Result {
	t.Helper()
	r, err := s.Apply(docs, false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func refresh(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Refresh(); err != nil {
		t.Fatal(err)
	}
}

// checkWhole reads the maps anew and compares them with what should be in them.
func (k *kernel) checkWhole(s *Store) {
	t := k.t
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	written := s.live.dump()
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	l := s.live
	if got := l.dump(); got != written {
		t.Errorf("maps:\n%s\nwant\n%s", got, written)
	}
	l.check(t)
	if s.maps.writing() != 0 || !l.garbage.empty() {
		t.Errorf("writing %d, garbage %v", s.maps.writing(), l.garbage)
	}
	if n := int(s.maps.meta.any_port); n != l.anyPort {
		t.Errorf("any_port %d, want %d", n, l.anyPort)
	}
	policies := l.model.sorted(Policy)
	if len(l.denied) != len(policies)+1 {
		t.Errorf("counters of %v, want %d", l.denied, len(policies)+1)
	}
	k.checkImage(l, authz.ImageOf(s.maps.image(true)), policies)
}

// checkImage compares the image with the policies as they read.
func (k *kernel) checkImage(l *live, image *authz.Image, policies []*resource) {
	k.t.Helper()
	in := authz.Input{Identities: []authz.Identity{{}}, Sets: []authz.Set{{}}}
	for _, r := range policies {
		in.Policies = append(in.Policies, authz.Policy{ID: r.num, Authorization: r.more.policy})
	}
	judged := 0
	for to, pt := range l.peers {
		want, _ := l.model.peerOf(to)
		in.Sets = []authz.Set{{}, setOf(want.set)}
		set := 1
		if want.set == "" {
			set = 0
		}
		for from, pf := range l.peers {
			who, _ := l.model.peerOf(from)
			p := authz.Packet{Identity: who.identity, Source: from, Destination: to, Port: 8080}
			got, want := image.Decide(uint32(pf.identity), uint32(pt.pset), p), authz.Evaluate(&in, set, p)
			if got.Allowed != want.Allowed {
				k.t.Errorf("%s to %s: %+v, want %+v", from, to, got, want)
			}
			if !want.Allowed {
				judged++
			}
		}
	}
	if len(policies) > 0 && judged == 0 {
		k.t.Error("the policies deny nothing: a test of nothing")
	}
}

// enrolled is a pod in km_netns.
type enrolled struct {
	k      *kernel
	cookie uint64
}

func enrol(k *kernel, cookie uint64, addrs ...string) enrolled {
	k.t.Helper()
	var v netnsC
	for i, a := range addrs {
		b := mapped(netip.MustParseAddr(a))
		copy(raw(&v.ip[i]), b[:])
		v.n++
	}
	i := netnsSlot(cookie)
	for _, err := range []error{
		bpfmap.Update(k.fds["km_netns"], raw(&cookie), raw(&v)),
		bpfmap.Update(k.fds["km_netns_slot"], raw(&i), raw(&cookie)),
	} {
		if err != nil {
			k.t.Fatal(err)
		}
	}
	return enrolled{k, cookie}
}

// flags returns what km_netns and its slot say.
func (e enrolled) flags() (flags uint32, slot uint64) {
	e.k.t.Helper()
	var v netnsC
	i := netnsSlot(e.cookie)
	if err := bpfmap.Lookup(e.k.fds["km_netns"], raw(&e.cookie), raw(&v)); err != nil {
		e.k.t.Fatal(err)
	}
	if err := bpfmap.Lookup(e.k.fds["km_netns_slot"], raw(&i), raw(&slot)); err != nil {
		e.k.t.Fatal(err)
	}
	return uint32(v.flags), slot
}

// check wants the pod to be a waypoint.
func (e enrolled) check(when string) {
	e.k.t.Helper()
	if flags, slot := e.flags(); flags != netnsWaypoint || slot != netnsAsk {
		e.k.t.Errorf("%s: flags %d, slot %#x, want those of a waypoint", when, flags, slot)
	}
}

func (k killed) String() string { return fmt.Sprintf("killed at %s", k.step) }
