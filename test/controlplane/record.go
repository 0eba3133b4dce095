// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Request is one request of a client, of either variant.
type Request struct {
	// Stream counts the streams of the control plane from 1.
	Stream int64
	Type   string
	// Node is that of this very request: clients send it in the first of a stream.
	Node *core.Node
	// Version and Names are those of the state of the world.
	Version string
	Names   []string
	// Subscribe, Unsubscribe and Initial are those of delta.
	Subscribe, Unsubscribe []string
	Initial                map[string]string
	// Nonce is "" in what is no answer; Error is that of a NACK.
	Nonce, Error string
}

// First says whether the request answers nothing.
func (r Request) First() bool { return r.Nonce == "" }

// ACK says whether the request takes a response, NACK whether it rejects one.
func (r Request) ACK() bool  { return r.Nonce != "" && r.Error == "" }
func (r Request) NACK() bool { return r.Nonce != "" && r.Error != "" }

func ofWorld(stream int64, r *discovery.DiscoveryRequest) Request {
	return Request{Stream: stream, Type: r.GetTypeUrl(), Node: r.GetNode(), Version: r.GetVersionInfo(),
		Names: r.GetResourceNames(), Nonce: r.GetResponseNonce(), Error: r.GetErrorDetail().GetMessage()}
}

func ofDelta(stream int64, r *discovery.DeltaDiscoveryRequest) Request {
	return Request{Stream: stream, Type: r.GetTypeUrl(), Node: r.GetNode(),
		Subscribe: r.GetResourceNamesSubscribe(), Unsubscribe: r.GetResourceNamesUnsubscribe(),
		Initial: r.GetInitialResourceVersions(), Nonce: r.GetResponseNonce(), Error: r.GetErrorDetail().GetMessage()}
}

// Record is what clients said, in order.
type Record struct {
	mu       sync.Mutex
	requests []Request
	tokens   []string // authorization of each stream, "" without
	refused  int
	failures []error
	more     chan struct{} // closed and replaced with every entry
}

func newRecord() *Record { return &Record{more: make(chan struct{})} }

func (r *Record) wake() {
	close(r.more)
	r.more = make(chan struct{})
}

func (r *Record) add(q Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, q)
	r.wake()
}

func (r *Record) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, err)
}

// Err tells what went wrong in the control plane itself.
func (r *Record) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.failures...)
}

// Requests returns what was said so far.
func (r *Record) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Wait returns the first request, those of the past included, that is what is asked for.
func (r *Record) Wait(ctx context.Context, is func(Request) bool) (Request, error) {
	return r.WaitAfter(ctx, 0, is)
}

// WaitAfter is Wait past so many requests.
func (r *Record) WaitAfter(ctx context.Context, n int, is func(Request) bool) (Request, error) {
	for {
		r.mu.Lock()
		all, more := r.requests, r.more
		r.mu.Unlock()
		for ; n < len(all); n++ {
			if is(all[n]) {
				return all[n], nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return Request{}, fmt.Errorf("wait for a request among %d: %w", len(all), ctx.Err())
		}
	}
}

// Tokens are the bearer tokens of the streams that were let in, in order.
func (r *Record) Tokens() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tokens)
}

// Refused is how many streams brought another token than they must.
func (r *Record) Refused() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// admit lets a stream in that brings the right token, and keeps what it says.
func (p *plane) admit(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	p.mu.Lock()
	want := p.cfg.Token
	p.mu.Unlock()
	got := ""
	if md, ok := metadata.FromIncomingContext(s.Context()); ok {
		got = strings.TrimPrefix(strings.Join(md.Get("authorization"), ","), "Bearer ")
	}
	id, err := p.enter(got, want)
	if err != nil {
		return err
	}
	return next(srv, &recorded{s, p.Record, id, context.WithValue(s.Context(), streamID{}, id)})
}

// enter counts a stream.
func (r *Record) enter(token, want string) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if want != "" && token != want {
		r.refused++
		return 0, status.Error(codes.Unauthenticated, "the token is not the one that is wanted")
	}
	r.tokens = append(r.tokens, token)
	return int64(len(r.tokens)), nil
}

// streamID is the key of a stream's number in its context.
type streamID struct{}

// recorded is a stream whose requests are kept.
type recorded struct {
	grpc.ServerStream
	record *Record
	id     int64
	ctx    context.Context
}

func (s *recorded) Context() context.Context { return s.ctx }

func (s *recorded) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	switch q := m.(type) {
	case *discovery.DiscoveryRequest:
		s.record.add(ofWorld(s.id, q))
	case *discovery.DeltaDiscoveryRequest:
		s.record.add(ofDelta(s.id, q))
	}
	return nil
}
