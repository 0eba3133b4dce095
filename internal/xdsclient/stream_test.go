// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus/hooks/test"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

func ofType(url string) func(controlplane.Request) bool {
	return func(q controlplane.Request) bool { return q.Type == url }
}

// begun is a client with clusters a and b and their endpoints in force.
func begun(t *testing.T, v Variant) (*controlplane.Peer, *controlplane.Stream, *client) {
	t.Helper()
	p := serving(t, controlplane.Config{})
	c := running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address()}, Variant: v})
	s := streamOf(t, p)
	for _, r := range []controlplane.Response{
		versioned(of(t, ClusterType, named("a", "b")...), "1"), versioned(of(t, EndpointType, assigned("a", "b")...), "e1"),
	} {
		if q := exchange(t, s, r); !q.ACK() {
			t.Fatalf("%s is refused: %s", r.Type, q.Error)
		}
	}
	<-c.FirstSync()
	return p, s, c
}

// The node is told once; what is subscribed to by name is not asked for before there are
// names, for that would mean everything; then with those names, in a request that answers
// nothing.
func TestTheFirstRequests(t *testing.T) {
	both(t, func(t *testing.T, v Variant) {
		p, _, _ := begun(t, v)
		all := p.Requests()
		if all[0].Type != ClusterType || !all[0].First() || len(all[0].Names)+len(all[0].Subscribe) != 0 {
			t.Errorf("first request: %+v", all[0])
		}
		if id := all[0].Node.GetId(); id != "sidecar~10.0.0.1~a.b~b.svc.cluster.local" {
			t.Errorf("node id %q", id)
		}
		if all[1].Type != ClusterType || !all[1].ACK() {
			t.Errorf("second request: %+v", all[1])
		}
		if q := all[2]; q.Type != EndpointType || !q.First() || !slices.Equal(slices.Concat(q.Names, q.Subscribe), []string{"a", "b"}) {
			t.Errorf("third request: %+v", q)
		}
		for _, q := range all[1:] {
			if q.Node != nil {
				t.Errorf("the node is told again: %+v", q)
			}
		}
		if v == SotW && all[1].Version != "1" {
			t.Errorf("ACK of version %q", all[1].Version)
		}
	})
}

// A new set of names is a request of its own: in the state of the world with the whole
// list and what was last answered, in delta with what differs.
func TestNamesFollowTheClusters(t *testing.T) {
	p, s, c := begun(t, SotW)
	n := len(p.Requests())
	q := exchange(t, s, versioned(of(t, ClusterType, named("b", "c")...), "2"))
	if !q.ACK() || q.Version != "2" {
		t.Errorf("answer: %+v", q)
	}
	q = asked(t, p, n, ofType(EndpointType))
	equal(t, "asked for", q.Names, []string{"b", "c"})
	if q.Nonce == "" || q.Version != "e1" {
		t.Errorf("asked with nonce %q and version %q", q.Nonce, q.Version)
	}
	equal(t, "clusters held", c.sink.holds(ClusterType), []string{"b", "c"})
}

func TestNamesFollowTheClustersInDelta(t *testing.T) {
	p, s, c := begun(t, Delta)
	n := len(p.Requests())
	r := versioned(of(t, ClusterType, named("c")...), "2")
	r.Removed = []string{"a"}
	exchange(t, s, r)
	q := asked(t, p, n, ofType(EndpointType))
	equal(t, "subscribed to", q.Subscribe, []string{"c"})
	equal(t, "unsubscribed from", q.Unsubscribe, []string{"a"})
	if !q.First() {
		t.Error("it answers something")
	}
	equal(t, "clusters held", c.sink.holds(ClusterType), []string{"b", "c"})

	// A name that reappears is asked for again.
	n = len(p.Requests())
	exchange(t, s, versioned(of(t, ClusterType, named("a")...), "3"))
	equal(t, "subscribed to", asked(t, p, n, ofType(EndpointType)).Subscribe, []string{"a"})
}

// What is removed does not count any more, and leaves no version behind: what another
// writer gives that name later is not what the control plane sent.
func TestWhatIsRemovedIsForgotten(t *testing.T) {
	both(t, func(t *testing.T, v Variant) {
		p, s, c := begun(t, v)
		r := versioned(of(t, ClusterType, named("a")...), "2")
		if v == Delta {
			r.Removed = []string{"b"}
		}
		n := len(p.Requests())
		exchange(t, s, r)
		asked(t, p, n, ofType(EndpointType)) // for a alone
		for _, st := range c.State().Types {
			if st.Resources != 1 {
				t.Errorf("%d of %s are in force", st.Resources, st.TypeURL)
			}
		}
		if v == SotW {
			return // it tells no versions
		}
		c.sink.mu.Lock()
		c.sink.held[ClusterType]["b"] = nil
		c.sink.mu.Unlock()
		s.End(nil)
		wantInitial(t, p, c, "map[a:2 b:]")
	})
}

// All names gone, and back: nothing that means everything is asked for.
func TestNoNamesAreNotAllNames(t *testing.T) {
	p, s, _ := begun(t, SotW)
	n := len(p.Requests())
	exchange(t, s, versioned(of(t, ClusterType), "2"))
	if q := asked(t, p, n, ofType(EndpointType)); len(q.Names) != 0 || q.Nonce == "" {
		t.Errorf("asked: %+v", q)
	}
}

// An invalid resource is named in the NACK, with the version of what was fine before;
// what is valid beside it is in force, and so is the last good one of it.
func TestANACKNamesWhatIsInvalid(t *testing.T) {
	both(t, func(t *testing.T, v Variant) {
		p, s, c := begun(t, v)
		bad := versioned(spoilt(of(t, ClusterType, named("a", "b", "c")...), "b"), "2")
		n := len(p.Requests())
		q := exchange(t, s, bad)
		if !q.NACK() || !strings.Contains(q.Error, "1 of 3 resources rejected") || !strings.Contains(q.Error, "Cluster b") {
			t.Errorf("answer: %+v", q)
		}
		if v == SotW && q.Version != "1" {
			t.Errorf("NACK with version %q", q.Version)
		}
		equal(t, "clusters held", c.sink.holds(ClusterType), []string{"a", "b", "c"})
		// What came in the same response is followed all the same, in another request.
		q = asked(t, p, n, ofType(EndpointType))
		if !slices.Contains(slices.Concat(q.Names, q.Subscribe), "c") {
			t.Errorf("asked: %+v", q)
		}
		st := c.State().Types[0]
		if st.NACKs != 1 || st.LastError == "" || st.Responses != 2 || st.Resources != 3 {
			t.Errorf("state: %+v", st)
		}
		// Then it is good again.
		q = exchange(t, s, versioned(of(t, ClusterType, named("a", "b", "c")...), "3"))
		if !q.ACK() || v == SotW && q.Version != "3" {
			t.Errorf("answer: %+v", q)
		}
		if st := c.State().Types[0]; st.LastError != "" || st.NACKs != 1 {
			t.Errorf("state: %+v", st)
		}
	})
}

// A control plane that looks at versions alone sends what was rejected again at once: that is
// answered later, and what else it says meanwhile is not kept waiting.
func TestWhatIsRejectedAgainIsAnsweredLater(t *testing.T) {
	p, s, c := begun(t, SotW)
	bad := versioned(spoilt(of(t, ClusterType, named("a", "b")...), "b"), "2")
	exchange(t, s, bad)
	n := len(p.Requests())
	start := time.Now()
	_, err := s.Send(bad)
	must(t, err)
	if q := exchange(t, s, versioned(of(t, EndpointType, assigned("a")...), "2")); !q.ACK() {
		t.Errorf("answer: %+v", q)
	}
	if q := asked(t, p, n, controlplane.Request.NACK); time.Since(start) < latePause || q.Version != "1" || !strings.Contains(q.Error, "Cluster b") {
		t.Errorf("after %v: %+v", time.Since(start), q)
	}
	// One that is good has the answer dropped that waits.
	_, err = s.Send(bad)
	must(t, err)
	if q := exchange(t, s, versioned(of(t, ClusterType, named("a", "b")...), "3")); !q.ACK() {
		t.Errorf("answer: %+v", q)
	}
	if st := c.State().Types[0]; st.NACKs != 3 || st.LastError != "" {
		t.Errorf("state: %+v", st)
	}
}

func TestNoStormOfRejections(t *testing.T) {
	l := controlplane.NewLive(controlplane.Config{})
	must(t, l.Start())
	defer l.Stop()
	must(t, l.Set(t.Context(), of(t, ClusterType, named("a")...)))
	both(t, func(t *testing.T, v Variant) {
		sink := newClusters()
		sink.unwelcome = "a"
		c := running(t, sink, Config{Endpoint: Endpoint{Address: l.Address()}, Variant: v})
		responses := func() (n, nacks uint64) {
			st := c.State().Types[0]
			return st.Responses, st.NACKs
		}
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if _, nacks := responses(); nacks > 0 || time.Now().After(end) {
				break
			}
		}
		time.Sleep(time.Second)
		if n, nacks := responses(); nacks == 0 || n > 3 {
			t.Errorf("%d responses in a second, %d of them rejected", n, nacks)
		}
	})
}

// The version of a resource that was rejected stays the one that is in force: the control
// plane knows by it what to send after the next connect.
func TestARejectedResourceKeepsItsVersion(t *testing.T) {
	p, s, c := begun(t, Delta)
	exchange(t, s, versioned(spoilt(of(t, ClusterType, named("b", "c")...), "b"), "2"))
	s.End(nil)
	<-c.waits
	c.again <- patienceOver
	streamOf(t, p)
	q := asked(t, p, 0, func(q controlplane.Request) bool { return q.Stream == 2 })
	want := map[string]string{"a": "1", "b": "1", "c": "2"}
	if fmt.Sprint(q.Initial) != fmt.Sprint(want) {
		t.Errorf("versions: %v, want %v", q.Initial, want)
	}
}

// One that was taken, waited and is refused by a later response is to come again.
func TestAResourceThatIsRejectedLaterComesAgain(t *testing.T) {
	p, s, c := begun(t, Delta)
	c.sink.mu.Lock()
	c.sink.late = []xds.Rejection{{Name: "a", Err: errors.New("not with the others")}}
	c.sink.mu.Unlock()
	if q := exchange(t, s, versioned(of(t, ClusterType, named("c")...), "2")); !q.NACK() {
		t.Errorf("answer: %+v", q)
	}
	s.End(nil)
	<-c.waits
	c.again <- patienceOver
	streamOf(t, p)
	q := asked(t, p, 0, func(q controlplane.Request) bool { return q.Stream == 2 })
	if want := map[string]string{"a": "", "b": "1", "c": "2"}; fmt.Sprint(q.Initial) != fmt.Sprint(want) {
		t.Errorf("versions: %v, want %v", q.Initial, want)
	}
}

// A response of a type that was not asked for is not answered, and spoils nothing.
func TestAnUnknownTypeIsLeftOut(t *testing.T) {
	both(t, func(t *testing.T, v Variant) {
		p, s, _ := begun(t, v)
		for _, url := range []string{controlplane.Listener, "type.googleapis.com/none", ""} {
			_, err := s.Send(controlplane.Response{Type: url, Version: "1"})
			must(t, err)
		}
		if q := exchange(t, s, versioned(of(t, ClusterType, named("a")...), "2")); !q.ACK() {
			t.Errorf("answer: %+v", q)
		}
		for _, q := range p.Requests() {
			if q.Type != ClusterType && q.Type != EndpointType {
				t.Errorf("a request of type %q", q.Type)
			}
		}
	})
}

// A control plane that floods does not fill the log.
func TestUnknownTypesAreToldOfOnce(t *testing.T) {
	log, told := test.NewNullLogger()
	p := serving(t, controlplane.Config{})
	c := running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address()}, Variant: Delta, Log: log})
	s := streamOf(t, p)
	for range 10 {
		_, err := s.Send(controlplane.Response{Type: "type.googleapis.com/none", Version: "1"})
		must(t, err)
	}
	exchange(t, s, versioned(of(t, ClusterType), "1"))
	<-c.FirstSync()
	n := 0
	for _, e := range told.AllEntries() {
		if strings.Contains(e.Message, "was not asked for") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d lines of the log", n)
	}
}

// One that refuses each stream, once that is open, does not either, and is not told of as
// connected again and again.
func TestARefusalIsToldOfOnce(t *testing.T) {
	log, told := test.NewNullLogger()
	p := serving(t, controlplane.Config{})
	c := running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address()}, Variant: Delta, Log: log})
	for range 4 {
		s := streamOf(t, p)
		asked(t, p, 0, func(q controlplane.Request) bool { return q.Stream == s.ID })
		s.End(status.Error(codes.Unauthenticated, "who are you"))
		<-c.waits
		c.again <- patienceOver
	}
	exchange(t, streamOf(t, p), versioned(of(t, ClusterType), "1"))
	<-c.FirstSync()
	var lines []string
	for _, e := range told.AllEntries() {
		lines = append(lines, strings.Fields(e.Message)[1])
	}
	equal(t, "log", lines, []string{"connected", "no", "connected", "all"})
}

// Nor is one of a type that is subscribed to by name, before there are names.
func TestATypeIsNotAnsweredBeforeItIsAskedFor(t *testing.T) {
	both(t, func(t *testing.T, v Variant) {
		p := serving(t, controlplane.Config{})
		running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address()}, Variant: v})
		s := streamOf(t, p)
		_, err := s.Send(versioned(of(t, EndpointType, assigned("a")...), "1"))
		must(t, err)
		exchange(t, s, versioned(of(t, ClusterType), "1"))
		if n := len(p.Requests()); n != 2 {
			t.Errorf("%d requests: %+v", n, p.Requests())
		}
	})
}

// Versions may be empty, in a response and of a resource.
func TestEmptyVersions(t *testing.T) {
	both(t, func(t *testing.T, v Variant) {
		p, s, c := begun(t, v)
		if q := exchange(t, s, of(t, ClusterType, named("a", "b")...)); !q.ACK() || q.Version != "" {
			t.Errorf("answer: %+v", q)
		}
		s.End(nil)
		<-c.waits
		c.again <- patienceOver
		streamOf(t, p)
		q := asked(t, p, 0, func(q controlplane.Request) bool { return q.Stream == 2 && q.Type == ClusterType })
		if v == Delta && fmt.Sprint(q.Initial) != "map[a: b:]" {
			t.Errorf("versions: %v", q.Initial)
		}
	})
}

// What the sink could not bring into force is not answered: the stream ends, and the next
// one brings it again.
func TestWhatFailedComesAgain(t *testing.T) {
	both(t, func(t *testing.T, v Variant) {
		p, s, c := begun(t, v)
		c.sink.mu.Lock()
		c.sink.fail = errors.New("the store is locked")
		c.sink.mu.Unlock()
		nonce, err := s.Send(versioned(of(t, ClusterType, named("z")...), "2"))
		must(t, err)
		<-c.waits
		if st := c.State(); st.Connected || !strings.Contains(st.LastError, "the store is locked") || st.Failures != 1 {
			t.Errorf("state: %+v", st)
		}
		for _, q := range p.Requests() {
			if q.Nonce == nonce {
				t.Errorf("it was answered: %+v", q)
			}
		}
		c.again <- patienceOver
		exchange(t, streamOf(t, p), versioned(of(t, ClusterType, named("z")...), "2"))
		if !slices.Contains(c.sink.holds(ClusterType), "z") {
			t.Error("it is not in force")
		}
	})
}
