// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"crypto/tls"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
)

const testdata = "../../internal/xds/testdata"

// A peer tells what was said, in which order, and waits for what it answers.
func TestPeerPlaysACaptureInBothVariants(t *testing.T) {
	capture, err := ReadCapture(filepath.Join(testdata, "sidecar-kube-nohbone"))
	must(t, err)
	if len(capture) < 3 || capture[0].Type != Cluster || capture[1].Type != Endpoints {
		t.Fatalf("capture of %d responses", len(capture))
	}
	p := NewPeer(Config{})
	started(t, p)
	c := dial(t, p.Address(), nil)

	world := c.world()
	must(t, world.Send(&discovery.DiscoveryRequest{Node: node(), TypeUrl: Cluster}))
	s, err := p.Stream(c.ctx)
	must(t, err)
	played := make(chan error, 1)
	go func() { played <- s.Play(c.ctx, capture[:2]...) }()
	r, err := world.Recv()
	must(t, err)
	if r.GetTypeUrl() != Cluster || len(r.GetResources()) != len(capture[0].Resources) || r.GetVersionInfo() != capture[0].Version {
		t.Errorf("received %s with %d resources", r.GetTypeUrl(), len(r.GetResources()))
	}
	must(t, world.Send(&discovery.DiscoveryRequest{TypeUrl: Cluster, VersionInfo: r.GetVersionInfo(), ResponseNonce: r.GetNonce()}))
	// Endpoints come when all of them are asked for, and not before.
	var names []string
	for _, res := range capture[1].Resources {
		names = append(names, res.Name)
	}
	must(t, world.Send(&discovery.DiscoveryRequest{TypeUrl: Endpoints, ResourceNames: names[:1]}))
	must(t, world.Send(&discovery.DiscoveryRequest{TypeUrl: Endpoints, ResourceNames: names}))
	r, err = world.Recv()
	must(t, err)
	must(t, world.Send(&discovery.DiscoveryRequest{TypeUrl: Endpoints, ResourceNames: names, ResponseNonce: r.GetNonce(),
		ErrorDetail: &status.Status{Message: "no good"}}))
	if err := <-played; err == nil || !strings.Contains(err.Error(), "no good") {
		t.Errorf("a NACK is played as %v", err)
	}
	want := []Request{{Type: Cluster}, {Type: Cluster, Version: capture[0].Version, Nonce: "1-1"},
		{Type: Endpoints}, {Type: Endpoints}, {Type: Endpoints, Nonce: "1-2", Error: "no good"}}
	got := p.Requests()
	for i, w := range want {
		if g := got[i]; g.Type != w.Type || g.Version != w.Version || g.Nonce != w.Nonce || g.Error != w.Error || g.Stream != 1 {
			t.Errorf("request %d is %+v", i, g)
		}
	}
	if got[0].Node.GetId() != node().GetId() || got[1].Node != nil {
		t.Error("the node is not that of the request")
	}

	delta := c.delta()
	must(t, delta.Send(&discovery.DeltaDiscoveryRequest{Node: node(), TypeUrl: Cluster, InitialResourceVersions: map[string]string{"a": "1"}}))
	s, err = p.Stream(c.ctx)
	must(t, err)
	_, err = s.Send(Response{Type: Cluster, Resources: capture[0].Resources[:1], Removed: []string{"a"}, Nonce: "mine"})
	must(t, err)
	d, err := delta.Recv()
	must(t, err)
	if d.GetNonce() != "mine" || !slices.Equal(d.GetRemovedResources(), []string{"a"}) || d.GetResources()[0].GetName() != capture[0].Resources[0].Name {
		t.Errorf("received %v", d)
	}
	q, err := p.Wait(c.ctx, func(q Request) bool { return q.Stream == 2 })
	must(t, err)
	if !q.First() || q.Initial["a"] != "1" {
		t.Errorf("the first request of the second stream is %+v", q)
	}
	s.End(grpcstatus.Error(codes.Unavailable, "later"))
	if _, err := delta.Recv(); grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestDeltaCapturesAreTakenForSuch(t *testing.T) {
	list, err := ReadCapture("../../internal/workload/testdata/ambient-real-live")
	must(t, err)
	last := list[len(list)-1]
	if last.Type != Address || len(last.Removed) == 0 || !strings.Contains(last.Resources[0].Name, "/") {
		t.Errorf("the last response is %s, %d removed, first %q", last.Type, len(last.Removed), last.Resources[0].Name)
	}
}

// opened is a stream that asks for clusters, from both sides.
func opened(c *client, p *Peer) (discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, *Stream) {
	c.t.Helper()
	delta := c.delta()
	must(c.t, delta.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: Cluster}))
	s, err := p.Stream(c.ctx)
	must(c.t, err)
	return delta, s
}

func TestCutInTheMiddleOfAMessage(t *testing.T) {
	p := NewPeer(Config{})
	started(t, p)
	c := dial(t, p.Address(), nil)
	delta, s := opened(c, p)
	list, err := Fleet{100, 1}.Envoy()
	must(t, err)
	p.CutAfter(20_000)
	if _, err := s.Send(list[0]); err == nil {
		<-s.Gone()
	}
	if d, err := delta.Recv(); err == nil {
		t.Errorf("received %d resources in spite of the cut", len(d.GetResources()))
	}
	// The next connection is whole.
	delta, s = opened(c, p)
	_, err = s.Send(list[0])
	must(t, err)
	d, err := delta.Recv()
	must(t, err)
	if len(d.GetResources()) != 100 {
		t.Errorf("received %d resources", len(d.GetResources()))
	}
	if n := p.Connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestSilentPeer(t *testing.T) {
	p := NewPeer(Config{})
	started(t, p)
	c := dial(t, p.Address(), nil)
	delta, s := opened(c, p)
	p.Silence()
	_, err := s.Send(Response{Type: Cluster})
	must(t, err)
	heard := make(chan error, 1)
	go func() { _, err := delta.Recv(); heard <- err }()
	select {
	case err := <-heard:
		t.Errorf("heard of a silent peer: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	p.Stop()
	if err := <-heard; err == nil {
		t.Error("a response came after the end")
	}
}

func TestPlaneStopsAndStartsAtOneAddress(t *testing.T) {
	for _, listen := range []string{"", "unix:" + filepath.Join(t.TempDir(), "s")} {
		p := NewPeer(Config{Listen: listen})
		started(t, p)
		at := p.Address()
		c := dial(t, at, nil)
		for range 2 {
			s, _ := opened(c, p)
			p.Stop()
			if _, err := s.Recv(); err == nil {
				t.Error("a stream lived on past a stop")
			}
			must(t, p.Start())
			if p.Address() != at {
				t.Errorf("listens at %s, then at %s", at, p.Address())
			}
			c = dial(t, at, nil)
		}
	}
}

func TestTLSAndToken(t *testing.T) {
	ca, err := NewCA("test")
	must(t, err)
	cert, err := ca.Issue("127.0.0.1", "istiod.example")
	must(t, err)
	p := NewPeer(Config{Certificate: cert, Token: "secret"})
	started(t, p)
	other, err := NewCA("other")
	must(t, err)
	stream := func(ca *CA, token string) error {
		c := dial(t, p.Address(), ca)
		c.as(token)
		s := c.delta()
		must(t, s.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: Cluster}))
		go func() {
			if st, err := p.Stream(c.ctx); err == nil {
				st.End(nil)
			}
		}()
		_, err := s.Recv()
		return err
	}
	if err := stream(ca, "wrong"); grpcstatus.Code(err) != codes.Unauthenticated || p.Refused() != 1 {
		t.Errorf("a wrong token ends in %v, %d refused", err, p.Refused())
	}
	if err := stream(ca, "secret"); err == nil || grpcstatus.Code(err) != codes.Unknown || err.Error() != "EOF" {
		t.Errorf("a stream with CA and token ends in %v", err)
	}
	if got := p.Tokens(); !slices.Equal(got, []string{"secret"}) {
		t.Errorf("tokens %q", got)
	}
	c := dial(t, p.Address(), other)
	if _, err := c.ads.DeltaAggregatedResources(c.ctx); grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("a stream with another CA ends in %v", err)
	}
	old := NewPeer(Config{Certificate: cert, MaxTLS: tls.VersionTLS11})
	started(t, old)
	c = dial(t, old.Address(), ca)
	if _, err := c.ads.DeltaAggregatedResources(c.ctx); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}
