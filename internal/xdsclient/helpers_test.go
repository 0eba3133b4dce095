// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/sirupsen/logrus"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// clusters is a sink of clusters and their endpoints, which keeps them in a map. A
// resource that does not decode is invalid.
type clusters struct {
	mu    sync.Mutex
	held  map[string]map[string]proto.Message // by type URL and name
	came  map[string]bool
	docs  []*xds.Document // as they were handed over, decoded
	fail  error           // of the next Update
	late  []xds.Rejection // by the next Update, of responses before
	names []string        // of endpoints to ask for; nil: those of the clusters

	unwelcome string // a resource of this name is invalid
}

func newClusters() *clusters {
	return &clusters{held: map[string]map[string]proto.Message{ClusterType: {}, EndpointType: {}}, came: map[string]bool{}}
}

func (s *clusters) Types() []string { return []string{ClusterType, EndpointType} }

func (s *clusters) Update(_ context.Context, d *xds.Document) (rejected []xds.Rejection, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err, s.fail = s.fail, nil; err != nil {
		return nil, err
	}
	rejected, s.late = s.late, nil
	for i := range d.Raw {
		m, err := d.Message(i)
		if err == nil && s.unwelcome != "" && d.NameOf(i) == s.unwelcome {
			err = errors.New("unwelcome")
		}
		if err != nil {
			rejected = append(rejected, d.Reject(i, err))
			continue
		}
		d.Resources = append(d.Resources, m)
	}
	url := ClusterType
	if d.Kind == xds.KindAssignment {
		url = EndpointType
	}
	held := s.held[url]
	if d.Complete {
		held = map[string]proto.Message{}
		for _, r := range rejected {
			if m := s.held[url][r.Name]; m != nil {
				held[r.Name] = m
			}
		}
		s.held[url] = held
	}
	for _, name := range d.Removed {
		delete(held, name)
	}
	for _, m := range d.Resources {
		held[controlplane.NameOf(m)] = m
	}
	s.came[url] = true
	s.docs = append(s.docs, d)
	return rejected, nil
}

func (s *clusters) Names(url string) ([]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if url != EndpointType {
		return nil, false
	}
	if s.names != nil {
		return s.names, true
	}
	return slices.Sorted(maps.Keys(s.held[ClusterType])), true
}

func (s *clusters) Held(url string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.held[url])), nil
}

func (s *clusters) Synced() (bool, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.came[ClusterType] {
		return false, "Cluster"
	}
	for name := range s.held[ClusterType] {
		if s.held[EndpointType][name] == nil {
			return false, "ClusterLoadAssignment " + name
		}
	}
	return true, ""
}

func (s *clusters) holds(url string) []string {
	names, err := s.Held(url)
	if err != nil {
		panic(err)
	}
	return names
}

func (s *clusters) last() *xds.Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.docs[len(s.docs)-1]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// of makes a response; versions are by resource, in turn.
func of(t testing.TB, url string, messages ...proto.Message) controlplane.Response {
	t.Helper()
	r, err := controlplane.NewResponse(url, messages...)
	must(t, err)
	return r
}

func versioned(r controlplane.Response, version string) controlplane.Response {
	r.Version = version
	r.Resources = slices.Clone(r.Resources)
	for i := range r.Resources {
		r.Resources[i].Version = version
	}
	return r
}

func named(names ...string) (l []proto.Message) {
	for _, n := range names {
		l = append(l, &clusterv3.Cluster{Name: n})
	}
	return l
}

func assigned(names ...string) (l []proto.Message) {
	for _, n := range names {
		l = append(l, &endpointv3.ClusterLoadAssignment{ClusterName: n})
	}
	return l
}

// spoilt makes the resource of that name undecodable, but for its name.
func spoilt(r controlplane.Response, name string) controlplane.Response {
	r.Resources = slices.Clone(r.Resources)
	for i, res := range r.Resources {
		if res.Name == name {
			body := proto.CloneOf(res.Body)
			body.Value = append(body.Value, 0xff)
			r.Resources[i].Body = body
		}
	}
	return r
}

// serving lets a control plane live as long as the test.
func serving(t testing.TB, cfg controlplane.Config) *controlplane.Peer {
	t.Helper()
	p := controlplane.NewPeer(cfg)
	must(t, p.Start())
	t.Cleanup(func() {
		p.Stop()
		must(t, p.Err())
	})
	return p
}

// client is a Client that runs as long as the test.
type client struct {
	*Client
	sink  *clusters
	waits chan time.Duration // the most that each wait before an attempt may be
	again chan time.Time     // ends a wait
}

func running(t testing.TB, sink *clusters, cfg Config) *client {
	t.Helper()
	c := &client{sink: sink, waits: make(chan time.Duration, 1000), again: make(chan time.Time, 1000)}
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	if cfg.Node.Namespace == "" {
		cfg.Node = identity()
	}
	cfg.jitter = func(d time.Duration) time.Duration {
		c.waits <- d
		return d
	}
	cfg.after = func(time.Duration) <-chan time.Time { return c.again }
	var err error
	c.Client, err = New(cfg, sink)
	must(t, err)
	t.Cleanup(start(t, c.Client))
	return c
}

// start has a Client run until stop is called, which waits for its end.
func start(t testing.TB, c *Client) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func quiet() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

func identity() Identity {
	return Identity{IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Name: "a", Namespace: "b", Domain: "cluster.local", ClusterID: "Kubernetes"}
}

// stream is the next stream of a client.
func streamOf(t testing.TB, p *controlplane.Peer) *controlplane.Stream {
	t.Helper()
	s, err := p.Stream(within(t))
	must(t, err)
	return s
}

// exchange sends a response and returns the answer.
func exchange(t testing.TB, s *controlplane.Stream, r controlplane.Response) controlplane.Request {
	t.Helper()
	q, err := s.Exchange(within(t), r)
	must(t, err)
	return q
}

// both runs a test in both variants.
func both(t *testing.T, do func(t *testing.T, v Variant)) {
	for _, v := range []Variant{SotW, Delta} {
		t.Run(string(v), func(t *testing.T) { do(t, v) })
	}
}

// asked waits for a request past the first n.
func asked(t testing.TB, p *controlplane.Peer, n int, is func(controlplane.Request) bool) controlplane.Request {
	t.Helper()
	q, err := p.WaitAfter(within(t), n, is)
	must(t, err)
	return q
}

func equal[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// patienceOver ends a wait.
var patienceOver time.Time
