// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// client is the smallest client that there can be: it says what the test says.
type client struct {
	t   *testing.T
	ctx context.Context
	ads discovery.AggregatedDiscoveryServiceClient
}

// dial connects, with TLS where a CA is given.
func dial(t *testing.T, address string, ca *CA) *client {
	t.Helper()
	creds := insecure.NewCredentials()
	if ca != nil {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(ca.PEM()) {
			t.Fatal("the CA's PEM holds no certificate")
		}
		creds = credentials.NewTLS(&tls.Config{RootCAs: pool})
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(func() {
		cancel()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return &client{t, ctx, discovery.NewAggregatedDiscoveryServiceClient(conn)}
}

// as brings a token from now on.
func (c *client) as(token string) {
	c.ctx = metadata.AppendToOutgoingContext(c.ctx, "authorization", "Bearer "+token)
}

func (c *client) delta() discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient {
	c.t.Helper()
	s, err := c.ads.DeltaAggregatedResources(c.ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *client) world() discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient {
	c.t.Helper()
	s, err := c.ads.StreamAggregatedResources(c.ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func node() *core.Node { return &core.Node{Id: "sidecar~10.0.0.1~a.b~c"} }

// must ends the test with an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// started starts a control plane for the time of the test.
func started(t *testing.T, p interface {
	Start() error
	Stop()
	Err() error
},
) {
	t.Helper()
	must(t, p.Start())
	t.Cleanup(func() {
		p.Stop()
		if err := p.Err(); err != nil {
			t.Error(err)
		}
	})
}
