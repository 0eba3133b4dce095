// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// said is a document as a control plane sends it.
func said(t testing.TB, d doc) controlplane.Response {
	t.Helper()
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	r, err := controlplane.ParseJSON(data)
	if err != nil {
		t.Fatalf("%v:\n%s", err, data)
	}
	return r
}

func saidAll(t testing.TB, docs ...doc) (list []controlplane.Response) {
	t.Helper()
	for _, d := range docs {
		list = append(list, said(t, d))
	}
	return list
}

// variants of ads mode's stream.
func variants(t *testing.T, fn func(t *testing.T, variant string)) {
	for _, v := range []string{"sotw", "delta"} {
		t.Run(v, func(t *testing.T) { fn(t, v) })
	}
}

// nodeIP is who the tests' nodes say they are.
const nodeIP = "10.0.0.1"

// linked starts run with a control plane, and does not wait for it.
func (n *node) linked(address, variant string, flags ...string) *daemon {
	n.t.Helper()
	return n.linkedOf("", address, variant, flags...)
}

// linkedOf is linked of another build.
func (n *node) linkedOf(build, address, variant string, flags ...string) *daemon {
	n.t.Helper()
	args := []string{"--xds-address", address, "--xds-node-ip", nodeIP}
	if variant != "" {
		args = append(args, "--xds-variant", variant)
	}
	cmd := n.command(append(append([]string{"run"}, args...), flags...)...)
	if build != "" {
		cmd = of(build, cmd)
	}
	return n.manageRun(cmd)
}

// within is time enough for what a control plane waits for.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// plane is what both control planes have.
type plane interface {
	Start() error
	Stop()
	Err() error
}

// serving lets a control plane live as long as the test.
func serving(t testing.TB, p plane) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop()
		if err := p.Err(); err != nil {
			t.Errorf("control plane: %v", err)
		}
	})
}

// peer is a control plane that says what the test says.
type peer struct {
	*controlplane.Peer
	t       testing.TB
	version int
	bare    bool                // versions are empty
	known   map[string][]string // names by type, of types of which all is told
}

func newPeer(t testing.TB, cfg controlplane.Config) *peer {
	t.Helper()
	p := &peer{Peer: controlplane.NewPeer(cfg), t: t, known: map[string][]string{}}
	serving(t, p)
	return p
}

// stream is one of its streams.
type stream struct {
	*controlplane.Stream
	p *peer
}

// next waits for a stream.
func (p *peer) next() *stream {
	p.t.Helper()
	s, err := p.Stream(within(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	return &stream{s, p}
}

// again waits for the next stream of a client, and takes up from its first requests what
// the client holds: what is not sent again is removed.
func (p *peer) again() *stream {
	p.t.Helper()
	s := p.next()
	p.known = map[string][]string{}
	for _, typeURL := range []string{controlplane.Cluster, controlplane.Listener} {
		q, err := p.Wait(within(p.t), func(q controlplane.Request) bool { return q.Stream == s.ID && q.Type == typeURL && q.First() })
		if err != nil {
			p.t.Fatal(err)
		}
		for name := range q.Initial {
			p.known[typeURL] = append(p.known[typeURL], name)
		}
	}
	return s
}

// versioned gives a response a version of its own. Of a type of which all is told, what
// is no longer there is what delta calls removed.
func (p *peer) versioned(r controlplane.Response) controlplane.Response {
	p.version++
	if r.Version = fmt.Sprint(p.version); p.bare {
		r.Version = ""
	}
	var names []string
	r.Resources = slices.Clone(r.Resources)
	for i := range r.Resources {
		r.Resources[i].Version = r.Version
		names = append(names, r.Resources[i].Name)
	}
	if r.Type == controlplane.Cluster || r.Type == controlplane.Listener {
		for _, name := range p.known[r.Type] {
			if !slices.Contains(names, name) {
				r.Removed = append(r.Removed, name)
			}
		}
		p.known[r.Type] = names
	}
	return r
}

// answered sends a response when it is asked for, and returns what the client says.
func (s *stream) answered(r controlplane.Response) controlplane.Request {
	s.p.t.Helper()
	q, err := s.Exchange(within(s.p.t), s.p.versioned(r))
	if err != nil {
		s.p.t.Fatal(err)
	}
	return q
}

// taken sends documents in turn, all of which the client must take.
func (s *stream) taken(docs ...doc) {
	s.p.t.Helper()
	for _, d := range docs {
		if q := s.answered(said(s.p.t, d)); q.NACK() {
			s.p.t.Fatalf("a response was rejected: %s", q.Error)
		}
	}
}

// rejected sends a document that the client must reject with these words.
func (s *stream) rejected(d doc, words ...string) {
	s.p.t.Helper()
	s.p.wantNACK(s.answered(said(s.p.t, d)), words...)
}

func (p *peer) wantNACK(q controlplane.Request, words ...string) {
	p.t.Helper()
	for _, w := range words {
		if !q.NACK() || !strings.Contains(q.Error, w) {
			p.t.Errorf("the answer does not say %q: %q", w, q.Error)
		}
	}
}

// firstEnvoy is a service by each way that there is: its own listener to a cluster that
// has its endpoints by EDS, and a virtual host by RDS.
func firstEnvoy(endpoint string) []doc {
	return []doc{
		cds(edsCluster("a"), static("b", epB1)),
		eds(cla("a", locality(0, 0, endpointOf(endpoint)))),
		lds(listener(service, toCluster("a")), chains("0.0.0.0:9080", chain(nil, toRDS("9080")))),
		rds(routes("9080", vhost("b", []string{"10.96.0.11:9080"}, always(cluster("b"))))),
	}
}

func endpointOf(addr string) obj { return endpoint(addr, 1) }

func TestLiveFirstSyncAndAChange(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		n, p, c := site(t)
		p.serve("10.96.0.11:9080")
		cp := controlplane.NewLive(controlplane.Config{})
		serving(t, cp)
		ctx := within(t)
		if err := cp.Set(ctx, saidAll(t, firstEnvoy(epA1)...)...); err != nil {
			t.Fatal(err)
		}
		s := n.linked(cp.Address(), variant)
		s.hear(0, "READY=1")
		reaches(t, c, map[string]string{service: epA1, "10.96.0.11:9080": epB1})
		wantWho(t, cp.Record, "sidecar~"+nodeIP+"~")
		if err := cp.Set(ctx, saidAll(t, firstEnvoy(epA2)...)...); err != nil {
			t.Fatal(err)
		}
		comesToReach(t, c, service, epA2)
		// The last response of both pushes is taken, and so is what is in between.
		at := func(q controlplane.Request) bool {
			return q.Type == controlplane.Endpoints && q.ACK() && (variant == "delta" || q.Version == "2")
		}
		if _, err := cp.Wait(ctx, at); err != nil {
			t.Error(err)
		}
		for _, q := range cp.Requests() {
			if q.NACK() {
				t.Errorf("rejected: %s", q.Error)
			}
		}
		s.stop(exitDone)
		wantReach(t, c, service, epA2)
	})
}

// Readiness waits for the last of what was asked for, and no longer.
func TestLiveReadyComesWithTheFirstSync(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		n, p, c := site(t)
		p.serve("10.96.0.11:9080")
		cp := newPeer(t, controlplane.Config{})
		s := n.linked(cp.Address(), variant)
		st := cp.next()
		for _, d := range firstEnvoy(epA1) {
			if slices.Contains(s.all(), "READY=1") {
				t.Fatal("run was ready before all had come")
			}
			st.taken(d)
		}
		s.hear(0, "READY=1")
		reaches(t, c, map[string]string{service: epA1, "10.96.0.11:9080": epB1})
		s.logged("ready: synced with " + cp.Address())
		s.stop(exitDone)
	})
}

// wantWho asks who the client said that it is, in the first request of its first stream and
// nowhere else: such is the way of go-control-plane's server, and of istiod.
func wantWho(t testing.TB, r *controlplane.Record, id string) {
	t.Helper()
	for i, q := range r.Requests() {
		if (i == 0) != (q.Node != nil) {
			t.Errorf("request %d has node %v", i, q.Node)
		}
	}
	first := r.Requests()[0].Node
	if !strings.HasPrefix(first.GetId(), id) || strings.Count(first.GetId(), "~") != 3 {
		t.Errorf("node %q, want one of %s", first.GetId(), id)
	}
	meta := first.GetMetadata().GetFields()
	if meta["DISABLE_HBONE_SEND"].GetStringValue() != "true" || meta["INSTANCE_IPS"].GetStringValue() != nodeIP {
		t.Errorf("metadata %v", meta)
	}
}

func TestLiveWorkloadFirstSyncAndAChange(t *testing.T) {
	m, c := lane(t)
	cp := controlplane.NewLive(controlplane.Config{})
	serving(t, cp)
	change := func(d doc) {
		t.Helper()
		if err := cp.Change(said(t, d)); err != nil {
			t.Fatal(err)
		}
	}
	change(wds(serviceA(), a1()))
	s := m.linked(cp.Address(), "")
	s.hear(0, "READY=1")
	wantReach(t, c, vipA, at(ip1, 8080))
	wantWho(t, cp.Record, "ztunnel~"+nodeIP+"~")
	// Removals and updates come in one response.
	change(wdelta([]string{uid("a1")}, wpod("a2", ip2, serves("a", wport(80, 8080)))))
	comesToReach(t, c, vipA, at(ip2, 8080))
	m.wantNames("workloads", "uid", uid("a2"))
	// A policy is in force as soon as it comes, and no longer than it is there.
	p := m.enrolled(serverIP)
	p.serve(at(serverIP, 7001))
	stranger := m.pod("10.1.0.9").client(0)
	change(wdelta(nil, wpod("p", serverIP)))
	change(policyDelta(nil, policy("nobody", "NAMESPACE", "ALLOW", onlyWhen("principals", exact("nobody")))))
	becomes(t, "denied", func() bool { return denied(stranger, at(serverIP, 7001)) })
	change(policyDelta([]string{"ns/nobody"}))
	becomes(t, "let in", func() bool { return stranger.reach(at(serverIP, 7001)) == at(serverIP, 7001) })
	s.stop(exitDone)
	wantReach(t, c, vipA, at(ip2, 8080))
}

// becomes waits until something is so.
func becomes(t testing.TB, what string, is func() bool) {
	t.Helper()
	if err := eventually(func() error {
		if is() {
			return nil
		}
		return fmt.Errorf("it is not %s", what)
	}); err != nil {
		t.Fatal(err)
	}
}
