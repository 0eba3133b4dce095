// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// response is messages as they come over the wire. Maps in them are in any order.
func response(t testing.TB, messages []proto.Message, removed ...string) []xds.Document {
	t.Helper()
	docs := delta(messages, removed...)
	for i := range docs {
		d := &docs[i]
		for _, m := range d.Resources {
			b, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			url := "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName())
			d.Raw = append(d.Raw, xds.Raw{Name: NameOf(m), URL: url, Value: b})
		}
		d.Resources = nil
	}
	return docs
}

// mesh is services with pods, which serve two of them.
func mesh(services, pods int) (m []proto.Message) {
	for i := range services {
		m = append(m, svc(fmt.Sprintf("s%d", i), fmt.Sprintf("10.96.%d.%d", i>>8, i&255), http))
		for k := range pods {
			n := i*pods + k
			m = append(m, pod(fmt.Sprintf("p%d", n), fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255),
				in(fmt.Sprintf("s%d", i), 80, 8080)+in(fmt.Sprintf("s%d", (i+1)%services), 80, 8081)+`service_account: "sa"`))
		}
	}
	return m
}

// What did not change is not written, in whatever form it comes again.
func TestSentAgain(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	messages := append(before(), mesh(5, 3)...)
	apply(t, s, response(t, messages))
	type state struct {
		writes               int
		generation, verdicts uint64
	}
	now := func() state {
		return state{s.maps.writes, s.maps.generation(), atomic.LoadUint64(word(&s.maps.pstate.word))}
	}
	was := now()
	var names []string
	for _, m := range messages {
		names = append(names, NameOf(address(m)))
	}
	for what, docs := range map[string][]xds.Document{
		"as it came": response(t, messages), "decoded": delta(messages), "removed and there in one response": response(t, messages, names...),
	} {
		r, err := s.Apply(docs, true)
		if err != nil || len(r.Rejected) > 0 {
			t.Fatalf("%v, %v", err, r)
		}
		for kind, c := range r.Counts {
			if c.Updated+c.Deleted > 0 {
				t.Errorf("%s: %s %+v", what, kind, c)
			}
		}
		refresh(t, s)
		if now() != was {
			t.Errorf("%s: %+v, was %+v", what, now(), was)
		}
	}
	k.checkWhole(s)
}

// One endpoint of many services costs as many writes as one of few.
func TestOneEndpointOfMany(t *testing.T) {
	var writes []int
	for _, services := range []int{3, 500} {
		k := newKernel(t)
		s := k.open(Options{})
		s.Later()
		messages := mesh(services, 4)
		apply(t, s, response(t, messages))
		retire(t, s)
		w := proto.Clone(messages[1]).(*wapi.Workload)
		w.Status = wapi.WorkloadStatus_UNHEALTHY
		was := s.maps.writes
		apply(t, s, response(t, list(w)))
		retire(t, s)
		writes = append(writes, s.maps.writes-was)
		if got := s.live.frontendText("10.96.0.0", 80); strings.Contains(got, "10.0.0.0:") || !strings.Contains(got, "10.0.0.1:") {
			t.Errorf("endpoints: %s", got)
		}
		k.checkWhole(s)
	}
	// The message and the one before it, a frontend and a block, and a block that goes, of
	// two services.
	if writes[0] != writes[1] || writes[0] > 8 {
		t.Errorf("%d writes among few services, %d among many", writes[0], writes[1])
	}
}

func retire(t testing.TB, s *Store) {
	t.Helper()
	if remove := s.Retiring(); remove != nil {
		if err := bpfmap.Grace(); err != nil {
			t.Fatal(err)
		}
		if err := remove(); err != nil {
			t.Fatal(err)
		}
	}
}

// What a publication gave up stays until it is removed, and goes whoever does it.
func TestRetiredLater(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	s.Later()
	apply(t, s, response(t, before()))
	blocks := func() (n int) {
		err := each(s.maps, "km_block", func(blockKeyC, *blockC) error { n++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	was := blocks()
	changed, removed := after()
	apply(t, s, response(t, changed, removed...))
	if blocks() <= was {
		t.Fatal("the old blocks are gone while a connect may be reading them")
	}
	first, second := s.Retiring(), s.Retiring()
	if first == nil || second == nil {
		t.Fatal("nothing is to be removed")
	}
	if err := first(); err != nil || blocks() <= was {
		t.Errorf("%v: what a later call waits for was removed by the earlier", err)
	}
	if err := second(); err != nil {
		t.Fatal(err)
	}
	k.checkWhole(s)
	if s.Retiring() != nil {
		t.Error("there is more")
	}
	// A writer that ended meanwhile leaves it to the next one.
	want := blocks()
	apply(t, s, response(t, before()))
	apply(t, s, response(t, changed, removed...))
	if blocks() <= want {
		t.Fatal("nothing was left")
	}
	next := k.open(Options{})
	if !next.live.grace {
		t.Error("the next writer does not wait for who reads what was given up")
	}
	refresh(t, next)
	k.checkWhole(next)
	if blocks() != want {
		t.Errorf("%d blocks, want %d", blocks(), want)
	}
	if remove := s.Retiring(); remove != nil {
		if err := remove(); err != nil {
			t.Error(err)
		}
	}
	k.checkWhole(next)
}

// Whatever a stream brings, wherever it is cut, and whoever goes on with it: what is in
// force is what the control plane has.
func TestDeltaWithCuts(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 7))
		k := newKernel(t)
		k.settle(nodeSettings{name: "n1", waypointPort: defaultWaypointPort})
		s := k.open(Options{})
		s.Later()
		truth := map[string]proto.Message{} // what the control plane has
		key := func(m proto.Message) string { return NameOf(address(m)) }
		push := func() []xds.Document {
			var put []proto.Message
			var gone []string
			for _, m := range world(r) {
				switch _, has := truth[key(m)]; {
				case r.IntN(3) == 0:
					truth[key(m)] = m
					put = append(put, m)
				case has && r.IntN(4) == 0:
					delete(truth, key(m))
					gone = append(gone, key(m))
				case has && r.IntN(4) == 0:
					put = append(put, truth[key(m)]) // sent again
				}
			}
			return response(t, put, gone...)
		}
		// resume is the first answer of a stream: all there is, and of what is held what is not.
		resume := func() []xds.Document {
			held, err := s.Names(xds.KindAddress)
			policies, policyErr := s.Names(xds.KindAuthorization)
			if err := errors.Join(err, policyErr); err != nil {
				t.Fatal(err)
			}
			held = append(held, policies...)
			gone := slices.DeleteFunc(held, func(name string) bool { return truth[name] != nil })
			all := slices.Collect(maps.Values(truth))
			r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			return response(t, all, gone...)
		}
		for range 12 {
			docs := push()
			switch r.IntN(5) {
			case 0: // it does not come
			case 1: // the process ends in the middle
				n, at := 0, r.IntN(12)
				s.at = func(step string) {
					if n++; n > at {
						panic(killed{step})
					}
				}
				func() {
					defer func() {
						if p := recover(); p != nil {
							if _, ours := p.(killed); !ours {
								panic(p)
							}
						}
					}()
					apply(t, s, docs)
				}()
				s = k.open(Options{})
				s.Later()
			case 2: // a control plane that knows less
				for name := range truth {
					if r.IntN(2) == 0 {
						delete(truth, name)
					}
				}
			default:
				apply(t, s, docs)
				if r.IntN(2) == 0 {
					retire(t, s)
				}
				continue
			}
			apply(t, s, resume())
		}
		apply(t, s, resume())
		whole := without(nodeSettings{name: "n1"})
		whole.apply(t, delta(slices.Collect(maps.Values(truth))))
		if got, want := s.live.dump(), whole.dump(); got != want {
			t.Fatalf("seed %d:\n%s\nwant\n%s", seed, got, want)
		}
		retire(t, s)
		s.live.check(t)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = k.open(Options{})
		if got := s.live.dump(); got != whole.dump() {
			t.Fatalf("seed %d, read back:\n%s\nwant\n%s", seed, got, whole.dump())
		}
	}
}

// A resource that is no message, or an invalid one, is told by name; it stays what it was,
// and the rest is in force.
func TestBadResourceOfAResponse(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	apply(t, s, response(t, list(svc("s", vip, http), pod("a", "10.0.0.1", in("s", 80, 1)), pod("b", "10.0.0.2", in("s", 80, 1)))))
	docs := response(t, list(pod("a", "10.0.0.1", in("s", 80, 2)), pod("b", "10.0.0.2", in("s", 80, 99999)), pod("c", "10.0.0.3", in("s", 80, 3))))
	docs[0].Raw[2].Value = []byte{0x0a, 0x7f}
	docs[0].Raw = append(docs[0].Raw, xds.Raw{Name: "d", URL: "type.googleapis.com/istio.security.Authorization"})
	r, err := s.Apply(docs, true)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, bad := range r.Rejected {
		names = append(names, bad.Name)
		if !strings.Contains(bad.Err.Error(), bad.Name) || exit.Code(bad.Err) != exit.Rejected {
			t.Errorf("%s: %v", bad.Name, bad.Err)
		}
		if bad.Name == "b" && !strings.Contains(bad.Err.Error(), "ports[0].target_port") {
			t.Errorf("the field is not named: %v", bad.Err)
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{"b", "c", "d"}) {
		t.Errorf("rejected are %v", names)
	}
	if got := s.live.frontendText(vip, 80); got != "10.0.0.1:2 1/2, 10.0.0.2:1 1/2" {
		t.Errorf("endpoints %s", got)
	}
	k.checkWhole(s)
}

// A pod that was enrolled behind an open writer's back is judged like its workload, at its
// link's own address too, when the workload comes.
func TestEnrolledBeforeItsWorkload(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	s.Later()
	apply(t, s, response(t, before()))
	enrol(k, 77, "10.0.7.7", "fe80::7")
	apply(t, s, response(t, list(pod("late", "10.0.7.7", `service_account: "late" authorization_policies: "ns/one"`))))
	own, link := s.live.peers[addressOf(addresses("10.0.7.7")[0])], s.live.peers[addressOf(addresses("fe80::7")[0])]
	if own.pset == 0 || link.pset != own.pset || link.flags&peerWorkload == 0 {
		t.Errorf("own %+v, link %+v", own, link)
	}
	// And a pod that is a waypoint is told so.
	w := enrol(k, 78, "10.0.0.9")
	apply(t, s, response(t, list(pod("other", "10.0.7.8", ""))))
	w.check("enrolled after its workload")
	k.checkWhole(s)
}

// A resource of more than 10 MB comes and goes; where its successor does not fit beside
// it, that is said, with what makes room, and what was there stays.
func TestLargeResource(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	big := func(c string) []proto.Message {
		return list(svc("big", "10.97.0.1", http+strings.Repeat(`subject_alt_names: "`+strings.Repeat(c, 1<<20)+`" `, 11)), pod("a", "10.0.0.1", in("big", 80, 8)))
	}
	apply(t, s, response(t, big("x")))
	k.checkWhole(s)
	if _, err := s.Apply(response(t, big("y")), true); exit.Code(err) != exit.Rejected || !strings.Contains(err.Error(), "up --workloads 65536 makes room") {
		t.Errorf("%v", err)
	}
	if got := s.live; got != nil && got.frontendText("10.97.0.1", 80) != "10.0.0.1:8 1/1" {
		t.Error("it is no longer what it was")
	}
	refresh(t, s)
	k.checkWhole(s)
	apply(t, s, response(t, nil, "ns/big"))
	apply(t, s, response(t, big("y")))
	k.checkWhole(s)
}
