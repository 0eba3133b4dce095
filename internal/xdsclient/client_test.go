// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"fmt"
	"strings"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// Waits double up to a limit, and are anything below it; a stream that delivered begins
// anew.
func TestWaitsDoubleUntilAStreamDelivers(t *testing.T) {
	p := controlplane.NewPeer(controlplane.Config{})
	must(t, p.Start())
	defer p.Stop()
	c := running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address()}, Variant: Delta})
	fail := func() time.Duration {
		t.Helper()
		streamOf(t, p).End(status.Error(codes.Unavailable, "not now"))
		return <-c.waits
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		if got := fail(); got != want*time.Second {
			t.Errorf("a wait of up to %v, want %v", got, want*time.Second)
		}
		c.again <- patienceOver
	}
	s := streamOf(t, p)
	exchange(t, s, versioned(of(t, ClusterType), "1"))
	s.End(nil)
	if got := <-c.waits; got != time.Second {
		t.Errorf("after a delivery: a wait of up to %v", got)
	}
}

func TestTheRealWaitIsRandom(t *testing.T) {
	c, err := New(Config{Endpoint: Endpoint{Address: "127.0.0.1:1"}, Node: identity()}, newClusters())
	must(t, err)
	seen := map[time.Duration]bool{}
	for range 100 {
		d := c.cfg.jitter(backoffMost)
		if d < 0 || d >= backoffMost {
			t.Errorf("%v is not in 0..%v", d, backoffMost)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("%d different waits of 100", len(seen))
	}
}

// A delta stream resumes with the versions that are in force; what went away meanwhile
// is removed.
func TestDeltaResumes(t *testing.T) {
	p, s, c := begun(t, Delta)
	s.End(nil)
	<-c.waits
	c.again <- patienceOver
	s = streamOf(t, p)
	first := map[string]controlplane.Request{}
	for _, url := range c.sink.Types() {
		first[url] = asked(t, p, 0, func(q controlplane.Request) bool { return q.Stream == 2 && q.Type == url })
	}
	for url, want := range map[string]string{ClusterType: "map[a:1 b:1]", EndpointType: "map[a:e1 b:e1]"} {
		if got := fmt.Sprint(first[url].Initial); got != want {
			t.Errorf("%s: initial versions %s, want %s", url, got, want)
		}
	}
	equal(t, "subscribed to", first[EndpointType].Subscribe, []string{"a", "b"})
	if first[ClusterType].Node.GetId() == "" {
		t.Error("a stream without a node")
	}
	r := of(t, ClusterType)
	r.Removed = []string{"b"}
	exchange(t, s, r)
	equal(t, "clusters held", c.sink.holds(ClusterType), []string{"a"})
}

// A process that finds resources in the maps names them with empty versions: it does not
// know those, and the control plane says what went away.
func TestANewProcessNamesWhatTheMapsHold(t *testing.T) {
	p := serving(t, controlplane.Config{})
	sink := newClusters()
	sink.held[ClusterType]["old"] = nil
	sink.held[EndpointType]["old"] = nil
	sink.held[EndpointType]["stray"] = nil // no cluster has it
	running(t, sink, Config{Endpoint: Endpoint{Address: p.Address()}, Variant: Delta})
	streamOf(t, p)
	for _, url := range sink.Types() {
		if q := asked(t, p, 0, ofType(url)); fmt.Sprint(q.Initial) != "map[old:]" {
			t.Errorf("%s: initial versions %v", url, q.Initial)
		}
	}
}

// wantInitial has a second stream begin, whose first request is to say what is held.
func wantInitial(t *testing.T, p *controlplane.Peer, c *client, want string) {
	t.Helper()
	<-c.waits
	c.again <- patienceOver
	streamOf(t, p)
	q := asked(t, p, 0, func(q controlplane.Request) bool { return q.Stream == 2 })
	if fmt.Sprint(q.Initial) != want {
		t.Errorf("initial versions %v, want %s", q.Initial, want)
	}
}

// What another writer removed is not said to be held.
func TestOnlyWhatTheMapsHoldIsNamed(t *testing.T) {
	p, s, c := begun(t, Delta)
	c.sink.mu.Lock()
	delete(c.sink.held[ClusterType], "a")
	c.sink.mu.Unlock()
	s.End(nil)
	wantInitial(t, p, c, "map[b:1]")
}

// The maps were made anew: the next stream begins with what they hold now, without
// versions.
func TestMapsThatWereMadeAnewBeginAnew(t *testing.T) {
	p, s, c := begun(t, Delta)
	c.sink.mu.Lock()
	c.sink.fail = fmt.Errorf("publish: %w", ErrResync)
	c.sink.mu.Unlock()
	_, err := s.Send(versioned(of(t, ClusterType, named("c")...), "2"))
	must(t, err)
	wantInitial(t, p, c, "map[a: b:]")
}

// What the sink comes to know without a response is worth a new stream just so.
func TestResync(t *testing.T) {
	p, _, c := begun(t, Delta)
	c.Resync()
	wantInitial(t, p, c, "map[a: b:]")
}

// More versions than a request may have are not sent: all comes anew, and what the first
// response does not have is gone.
func TestTooManyToBeNamed(t *testing.T) {
	p := serving(t, controlplane.Config{})
	sink := newClusters()
	long := strings.Repeat("n", 1000)
	for i := range 4000 {
		sink.held[ClusterType][fmt.Sprintf("%s-%d", long, i)] = nil
	}
	sink.names = []string{}
	running(t, sink, Config{Endpoint: Endpoint{Address: p.Address()}, Variant: Delta})
	s := streamOf(t, p)
	if q := asked(t, p, 0, ofType(ClusterType)); len(q.Initial) != 0 {
		t.Errorf("%d versions", len(q.Initial))
	}
	exchange(t, s, versioned(of(t, ClusterType, named("a")...), "1"))
	equal(t, "clusters held", sink.holds(ClusterType), []string{"a"})
	// The next one is what changed, as ever.
	exchange(t, s, versioned(of(t, ClusterType, named("b")...), "2"))
	equal(t, "clusters held", sink.holds(ClusterType), []string{"a", "b"})
}

// A push that is cut in the middle changes nothing.
func TestACutPushChangesNothing(t *testing.T) {
	both(t, func(t *testing.T, v Variant) {
		p, s, c := begun(t, v)
		var many []string
		for i := range 20000 {
			many = append(many, fmt.Sprintf("cluster-%d", i))
		}
		before := c.sink.last()
		p.CutAfter(100_000)
		if _, err := s.Send(versioned(of(t, ClusterType, named(many...)...), "2")); err == nil {
			<-s.Gone()
		}
		<-c.waits
		if c.sink.last() != before {
			t.Error("something of it was taken")
		}
		equal(t, "clusters held", c.sink.holds(ClusterType), []string{"a", "b"})
		c.again <- patienceOver
		exchange(t, streamOf(t, p), versioned(of(t, ClusterType, named("c")...), "3"))
	})
}

// Responses of tens of megabytes are taken.
func TestALargeResponse(t *testing.T) {
	both(t, func(t *testing.T, v Variant) {
		_, s, c := begun(t, v)
		big := &endpointv3.ClusterLoadAssignment{ClusterName: "a"}
		locality := &endpointv3.LocalityLbEndpoints{}
		pad := strings.Repeat("x", 1000)
		for range 24_000 {
			locality.LbEndpoints = append(locality.LbEndpoints, &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_EndpointName{EndpointName: pad}})
		}
		big.Endpoints = append(big.Endpoints, locality)
		if q := exchange(t, s, versioned(of(t, EndpointType, big), "2")); !q.ACK() {
			t.Errorf("answer: %s", q.Error)
		}
		got := c.sink.last().Resources[0].(*endpointv3.ClusterLoadAssignment)
		if n := len(got.GetEndpoints()[0].GetLbEndpoints()); n != 24_000 {
			t.Errorf("%d endpoints", n)
		}
	})
}

// Reconnect opens another stream at once, whatever the waits say, and is no failure.
func TestReconnect(t *testing.T) {
	p, s, c := begun(t, Delta)
	c.Reconnect()
	<-s.Gone()
	s = streamOf(t, p)
	exchange(t, s, versioned(of(t, ClusterType), "2"))
	if st := c.State(); st.Failures != 0 || st.Streams != 2 {
		t.Errorf("state: %+v", st)
	}
	// Also out of a wait.
	p.Stop()
	<-c.waits
	must(t, p.Start())
	c.Reconnect()
	streamOf(t, p)
}

func TestState(t *testing.T) {
	p := serving(t, controlplane.Config{})
	changes := make(chan struct{}, 100)
	c := running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address()}, Variant: Delta, Changed: func() { changes <- struct{}{} }})
	s := streamOf(t, p)
	<-changes
	st := c.State()
	if !st.Connected || st.Synced || st.Missing != "Cluster" || st.Address != p.Address() || st.Variant != Delta || len(st.Types) != 2 {
		t.Errorf("connected: %+v", st)
	}
	exchange(t, s, versioned(of(t, ClusterType, named("a")...), "1"))
	if st := c.State(); st.Synced || st.Missing != "ClusterLoadAssignment a" {
		t.Errorf("half-way: %+v", st)
	}
	exchange(t, s, versioned(of(t, EndpointType, assigned("a")...), "7"))
	<-changes
	st = c.State()
	if e := st.Types[1]; !st.Synced || st.Missing != "" || e.Resources != 1 || e.Responses != 1 || e.LastUpdate.IsZero() {
		t.Errorf("synced: %+v", st)
	}
	s.End(status.Error(codes.Unavailable, "so long"))
	<-c.waits
	<-changes
	if st := c.State(); st.Connected || !strings.Contains(st.LastError, "so long") || !st.Synced || st.Failures != 1 || st.Streams != 1 {
		t.Errorf("ended: %+v", st)
	}
}

// Run returns when it is told to, also while a stream is open.
func TestRunEnds(t *testing.T) {
	p := serving(t, controlplane.Config{})
	c, err := New(Config{Endpoint: Endpoint{Address: p.Address()}, Variant: Delta, Node: identity(), Log: quiet()}, newClusters())
	must(t, err)
	stop := start(t, c)
	s := streamOf(t, p)
	stop()
	<-s.Gone()
	if st := c.State(); st.Connected || st.Failures != 0 {
		t.Errorf("state: %+v", st)
	}
}
