// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/sirupsen/logrus"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// session is one stream, from its first request to its end.
type session struct {
	c         *Client
	ctx       context.Context // outlives the stream: what has come is brought into force whole
	stream    stream
	node      *corev3.Node // nil: sent
	delivered bool         // a response was taken
	counted   bool         // in State
	unasked   bool         // a response came of a type that was not asked for
	late      *time.Timer  // runs while an answer waits
}

// latePause is what a response that was rejected already waits for its next rejection. A
// rejection names the version before, and a control plane that compares versions alone, as
// go-control-plane's does for the state of the world, sends the same again at once.
const latePause = 5 * time.Second

func (s *session) run(ctx context.Context) error {
	conn, err := s.c.cfg.Endpoint.connect()
	if err != nil {
		return err
	}
	defer s.c.close(conn)
	// Names are read before the stream opens: a control plane waits for a request.
	if s.node, err = s.c.cfg.Node.node(s.c.sink.Types()); err != nil {
		return err
	}
	for _, sub := range s.c.subs {
		if err := s.prepare(sub); err != nil {
			return err
		}
	}
	if ctx, err = s.c.cfg.Endpoint.authorize(ctx); err != nil {
		return err
	}
	if s.stream, err = openStream(ctx, s.c.cfg.Variant, conn); err != nil {
		return explain(err)
	}
	for _, sub := range s.c.subs {
		if err := s.follow(sub); err != nil {
			return explain(err)
		}
	}
	s.c.connected()
	type received struct {
		r   *response
		err error
	}
	next := make(chan received, 1)
	receive := func() {
		r, err := s.stream.recv()
		next <- received{r, err}
	}
	s.late = time.NewTimer(latePause)
	defer s.late.Stop()
	s.late.Stop()
	go receive()
	for {
		select {
		case n := <-next:
			if n.err != nil {
				return explain(n.err)
			}
			s.c.heard()
			if err := s.take(n.r); err != nil {
				return err
			}
			go receive() // not before: a response may be large
		case <-s.late.C:
			if err := s.sendLate(); err != nil {
				return explain(err)
			}
		}
	}
}

// take brings a response into force and answers it.
func (s *session) take(r *response) error {
	i := slices.IndexFunc(s.c.subs, func(sub *subscription) bool { return sub.url == r.url })
	if i < 0 || !s.c.subs[i].begun {
		// An answer would subscribe to it. Each stream tells of the first one.
		level := logrus.WarnLevel
		if s.unasked {
			level = logrus.DebugLevel
		}
		s.unasked = true
		s.c.cfg.Log.Logf(level, "xds: a response of type %q, which was not asked for, is left out", xds.Clip(r.url))
		return nil
	}
	sub := s.c.subs[i]
	sub.nonce = r.nonce
	rejected, err := s.update(sub, r)
	if err != nil {
		return fmt.Errorf("bring a response of %s into force: %w", shortType(r.url), err)
	}
	wrong := problem(len(r.raw), rejected)
	s.record(i, r, wrong.GetMessage())
	s.c.cfg.Log.Debugf("xds: %s: version %q, %d resources, %d removed, %d rejected", shortType(r.url), xds.Clip(r.version), len(r.raw),
		len(r.removed), len(rejected))
	if err := s.answer(sub, r, wrong); err != nil {
		return explain(err)
	}
	for _, sub := range s.c.subs {
		if err := s.follow(sub); err != nil {
			return explain(err)
		}
	}
	s.c.CheckSynced()
	return nil
}

// update hands the response to the sink, and remembers what is in force then.
func (s *session) update(sub *subscription, r *response) ([]xds.Rejection, error) {
	delta := s.c.cfg.Variant == Delta
	d, err := xds.Response(source, r.url, delta, r.raw, r.removed)
	if err != nil {
		return nil, err
	}
	d.Complete = d.Complete || sub.complete
	keys := make([]uint64, len(r.raw)) // the sink may drop what it has taken
	for i := range keys {
		keys[i] = digest(d.NameOf(i))
	}
	complete := d.Complete
	rejected, err := s.c.sink.Update(s.ctx, d)
	if err != nil {
		return nil, err
	}
	s.delivered, sub.complete = true, false
	bad := make(map[uint64]bool, len(rejected))
	for _, r := range rejected {
		bad[digest(r.Name)] = true
	}
	before := sub.inForce
	if complete || before == nil {
		sub.inForce = newVersions(len(r.raw))
	}
	for _, name := range r.removed {
		delete(sub.inForce, digest(name))
	}
	version := shared("")
	for i, key := range keys {
		if bad[key] {
			if v, held := before[key]; held { // what was in force before stays so
				sub.inForce[key] = v
			}
			continue
		}
		text := r.version
		if r.versions != nil {
			text = r.versions[i]
		}
		if text != version.Value() { // mostly it is that of the one before
			version = shared(text)
		}
		sub.inForce[key] = version
	}
	// What came before, waited, and is refused now has to come again.
	for _, key := range keys {
		delete(bad, key)
	}
	for key := range bad {
		delete(sub.inForce, key)
	}
	return rejected, nil
}

// answer accepts or rejects a response. What is in force of the latter is told by the
// version of the last one that was fine.
func (s *session) answer(sub *subscription, r *response, wrong *statuspb.Status) error {
	again := sub.refused != nil && *sub.refused == r.version
	sub.refused, sub.late = nil, nil
	if wrong == nil {
		sub.version = r.version
	} else if s.c.cfg.Variant == SotW {
		version := r.version
		sub.refused = &version
	}
	answer := &request{url: sub.url, nonce: r.nonce, names: sub.names, problem: wrong, version: sub.version}
	if wrong == nil || !again {
		return s.send(answer)
	}
	if !slices.ContainsFunc(s.c.subs, func(sub *subscription) bool { return sub.late != nil }) {
		s.late.Reset(latePause)
	}
	sub.late = answer
	return nil
}

// sendLate sends the answers that waited.
func (s *session) sendLate() error {
	for _, sub := range s.c.subs {
		if sub.late == nil {
			continue
		}
		answer := sub.late
		sub.late = nil
		answer.names = sub.names
		// Why a stream is over is told where responses are.
		if err := s.stream.send(answer); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

func (s *session) send(r *request) error {
	r.node, s.node = s.node, nil
	err := s.stream.send(r)
	if errors.Is(err, io.EOF) {
		// The stream is over. Why is told where responses are, behind the last of them,
		// which comes again on the next stream.
		for err = nil; err == nil; {
			_, err = s.stream.recv()
		}
	}
	return err
}

// record keeps for State what came of a response, and logs what is new about it; text is
// what is wrong with it.
func (s *session) record(i int, r *response, text string) {
	news := false
	s.c.change(func(st *State) {
		if !s.counted {
			st.Streams++
			s.counted = true
		}
		if r.controlPlane != "" {
			st.ControlPlane = xds.Clip(r.controlPlane)
		}
		t := &st.Types[i]
		if text != "" {
			t.NACKs++
		}
		news = text != t.LastError
		t.LastError, t.LastUpdate = text, time.Now()
		t.Responses++
		t.Resources = len(s.c.subs[i].inForce)
	})
	switch {
	case news && text != "":
		s.c.cfg.Log.Warnf("xds: %s: %s", shortType(r.url), text)
	case news:
		s.c.cfg.Log.Infof("xds: %s: no resource is rejected any more", shortType(r.url))
	}
	if news {
		s.c.cfg.Changed()
	}
}
