// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// Peer is a control plane whose every word is the caller's: it answers nothing by
// itself.
type Peer struct {
	*plane
	discovery.UnimplementedAggregatedDiscoveryServiceServer

	streams chan *Stream
}

// NewPeer returns a control plane that does not listen yet.
func NewPeer(cfg Config) *Peer {
	p := &Peer{plane: newPlane(cfg), streams: make(chan *Stream, 64)}
	p.service = p
	return p
}

// Stream returns the next stream that a client opens, or has opened meanwhile.
func (p *Peer) Stream(ctx context.Context) (*Stream, error) {
	select {
	case s := <-p.streams:
		return s, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a stream: %w", ctx.Err())
	}
}

// StreamAggregatedResources is the state of the world.
func (p *Peer) StreamAggregatedResources(g discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return p.hold(g.Context(), func(r Response) error { return g.Send(r.world()) }, func() error {
		_, err := g.Recv()
		return err
	})
}

// DeltaAggregatedResources is delta.
func (p *Peer) DeltaAggregatedResources(g discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return p.hold(g.Context(), func(r Response) error { return g.Send(r.delta()) }, func() error {
		_, err := g.Recv()
		return err
	})
}

// hold keeps the stream open until the caller or the client ends it.
func (p *Peer) hold(ctx context.Context, send func(Response) error, recv func() error) error {
	s := &Stream{ID: ctx.Value(streamID{}).(int64), peer: p, send: send, end: make(chan error, 1), gone: ctx.Done()}
	go func() {
		for recv() == nil { // the record has it; an end is told by ctx
		}
	}()
	p.streams <- s
	select {
	case err := <-s.end:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stream is one stream of a client.
type Stream struct {
	// ID is the Stream of its requests.
	ID int64

	peer  *Peer
	send  func(Response) error
	nonce int
	end   chan error
	gone  <-chan struct{}
}

// errGone is a stream that the client, or the connection, ended.
var errGone = errors.New("the stream is over")

// Gone is closed when the stream is over.
func (s *Stream) Gone() <-chan struct{} { return s.gone }

// Send sends a response, asked for or not, and returns its nonce.
func (s *Stream) Send(r Response) (nonce string, err error) {
	if r.Nonce == "" {
		s.nonce++
		r.Nonce = fmt.Sprintf("%d-%d", s.ID, s.nonce)
	}
	if err := s.send(r); err != nil {
		return "", fmt.Errorf("send %s: %w", short(r.Type), err)
	}
	return r.Nonce, nil
}

// End closes the stream with this error, a status of gRPC; nil ends it well.
func (s *Stream) End(err error) {
	select {
	case s.end <- err:
	default: // it has ended
	}
}

// Exchange waits until the client asks for what the response has, sends it and returns
// the client's answer.
func (s *Stream) Exchange(ctx context.Context, r Response) (Request, error) {
	if err := s.Asked(ctx, r); err != nil {
		return Request{}, err
	}
	nonce, err := s.Send(r)
	if err != nil {
		return Request{}, err
	}
	return s.Answer(ctx, r.Type, nonce)
}

// Play exchanges the responses in turn, all of which must be taken.
func (s *Stream) Play(ctx context.Context, list ...Response) error {
	for i, r := range list {
		q, err := s.Exchange(ctx, r)
		if err == nil && q.NACK() {
			err = errors.New(q.Error)
		}
		if err != nil {
			return fmt.Errorf("response %d, %s: %w", i+1, short(r.Type), err)
		}
	}
	return nil
}

// Answer waits for the answer to a nonce.
func (s *Stream) Answer(ctx context.Context, typeURL, nonce string) (Request, error) {
	q, err := s.wait(ctx, func(q Request) bool { return q.Type == typeURL && q.Nonce == nonce })
	if err != nil {
		err = fmt.Errorf("answer to %s of %s: %w", strconv.Quote(nonce), short(typeURL), err)
	}
	return q, err
}

// Asked waits until the client has asked for the type of a response; where resources
// of that type are asked for by name, for those that the response has.
func (s *Stream) Asked(ctx context.Context, r Response) error {
	missing := map[string]bool{}
	if r.Type == Endpoints || r.Type == Routes {
		for _, res := range r.Resources {
			missing[res.Name] = true
		}
	}
	_, err := s.wait(ctx, func(q Request) bool {
		if q.Type != r.Type {
			return false
		}
		for _, list := range [][]string{q.Names, q.Subscribe} {
			for _, name := range list {
				if name == "*" {
					clear(missing)
				}
				delete(missing, name)
			}
		}
		return len(missing) == 0
	})
	if err != nil {
		err = fmt.Errorf("subscription to %s, %d names missing: %w", short(r.Type), len(missing), err)
	}
	return err
}

// wait is Wait for requests of this stream, while it lives.
func (s *Stream) wait(ctx context.Context, is func(Request) bool) (Request, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.gone:
			cancel(errGone)
		case <-stop:
		}
	}()
	q, err := s.peer.Wait(ctx, func(q Request) bool { return q.Stream == s.ID && is(q) })
	if err != nil && errors.Is(context.Cause(ctx), errGone) {
		err = errGone
	}
	return q, err
}
