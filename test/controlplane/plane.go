// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// Config says how a control plane listens. The zero value is plain text on a port of
// the kernel's choice at 127.0.0.1.
type Config struct {
	// Listen is HOST:PORT or unix:PATH.
	Listen string
	// Certificate makes it TLS.
	Certificate *tls.Certificate
	// MaxTLS is the highest version that is spoken, 0 for any.
	MaxTLS uint16
	// Token is the bearer token that every stream must bring, "" for none.
	Token string
	// MaxAge closes connections of this age with a GOAWAY, as istiod does.
	MaxAge time.Duration
}

// plane is what both control planes have: a place to listen that outlives stops, and a
// record of what clients said.
type plane struct {
	*Record

	cfg     Config
	service discovery.AggregatedDiscoveryServiceServer

	mu       sync.Mutex
	at       string // where it listens, once it has
	server   *grpc.Server
	listener *faulty
	ended    chan struct{}
}

func newPlane(cfg Config) *plane {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	return &plane{Record: newRecord(), cfg: cfg, at: cfg.Listen}
}

// Address is what --xds-address takes. It stays the same when the control plane stops
// and starts again.
func (p *plane) Address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// SetToken changes the token that new streams must bring.
func (p *plane) SetToken(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg.Token = token
}

// SetCertificate changes what new connections are shown.
func (p *plane) SetCertificate(c *tls.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg.Certificate = c
}

// Start listens, and serves until Stop.
func (p *plane) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return errors.New("the control plane has started already")
	}
	l, err := listen(p.at)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(p.at, "unix:") {
		p.at = l.Addr().String()
	}
	p.listener = &faulty{Listener: l}
	p.server = grpc.NewServer(p.options()...)
	discovery.RegisterAggregatedDiscoveryServiceServer(p.server, p.service)
	ended := make(chan struct{})
	p.ended = ended
	go func(s *grpc.Server, l net.Listener) {
		defer close(ended)
		if err := s.Serve(l); err != nil {
			p.fail(fmt.Errorf("serve: %w", err))
		}
	}(p.server, p.listener)
	return nil
}

func (p *plane) options() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(1 << 30), grpc.MaxSendMsgSize(1 << 30),
		grpc.StreamInterceptor(p.admit),
	}
	if p.cfg.Certificate != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS10,
			MaxVersion: p.cfg.MaxTLS,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.cfg.Certificate, nil
			},
		})))
	}
	if p.cfg.MaxAge > 0 {
		opts = append(opts, grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: p.cfg.MaxAge, MaxConnectionAgeGrace: p.cfg.MaxAge,
		}))
	}
	return opts
}

// listen takes a socket over that an earlier control plane left.
func listen(at string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(at, "unix:"); ok {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove old socket: %w", err)
		}
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", at)
}

// Stop ends every connection at once. The control plane can Start again.
func (p *plane) Stop() {
	p.mu.Lock()
	s, ended := p.server, p.ended
	p.server, p.listener = nil, nil
	p.mu.Unlock()
	if s == nil {
		return
	}
	s.Stop()
	<-ended
}

// CutAfter resets the present connections once each was sent n more bytes, be it in the
// middle of a message.
func (p *plane) CutAfter(n int64) { p.fault(func(c *faultyConn) { c.cutAfter(n) }) }

// Silence makes the present connections stand still: nothing more is sent or heard.
func (p *plane) Silence() { p.fault((*faultyConn).silence) }

func (p *plane) fault(do func(*faultyConn)) {
	p.mu.Lock()
	l := p.listener
	p.mu.Unlock()
	if l != nil {
		l.each(do)
	}
}

// Connections is how many connections were ever accepted since Start.
func (p *plane) Connections() int {
	p.mu.Lock()
	l := p.listener
	p.mu.Unlock()
	if l == nil {
		return 0
	}
	return l.count()
}
