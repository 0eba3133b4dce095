// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/kmesh-net/kmesh-node/internal/printable"
)

const (
	// mostResponse bounds one response, in bytes.
	mostResponse = 256 << 20
	// window is how much may be on its way unread. It is fixed, so that gRPC does not
	// measure the connection with pings.
	window = 4 << 20
	// connectTime is for a connection and the handshakes on it.
	connectTime = 10 * time.Second

	// A peer that is gone is found by the kernel, without a timer of this process: it
	// asks after keepIdle of silence, each keepInterval, keepCount times.
	keepIdle     = 60 * time.Second
	keepInterval = 10 * time.Second
	keepCount    = 3
	// userTimeout is how long what was sent may stay unacknowledged.
	userTimeout = 30 * time.Second
)

// connect returns a connection that is made when it is first used, with files as they
// are now.
func (e *Endpoint) connect() (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if e.tls() {
		cfg, err := e.tlsConfig()
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(cfg)
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(e.dial),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mostResponse)),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
		grpc.WithIdleTimeout(0), // no timer
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithNoProxy(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTime}),
	}
	target := e.Address
	if _, unix := e.unix(); unix {
		target = "localhost"
	}
	// The dialer looks the name up, each time anew.
	conn, err := grpc.NewClient("passthrough:///"+target, opts...)
	if err != nil {
		return nil, fmt.Errorf("prepare a connection to %s: %w", e.Address, err)
	}
	return conn, nil
}

func (c *Client) close(conn *grpc.ClientConn) {
	if err := conn.Close(); err != nil {
		c.cfg.Log.WithError(err).Debug("xds: close the connection")
	}
}

// dial opens the connection that gRPC asks for.
func (e *Endpoint) dial(ctx context.Context, _ string) (net.Conn, error) {
	if path, ok := e.unix(); ok {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	d := &net.Dialer{
		Timeout:         connectTime,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepIdle, Interval: keepInterval, Count: keepCount},
		Control: func(_, address string, c syscall.RawConn) error {
			if a, err := netip.ParseAddrPort(address); e.onlyLoopback() && (err != nil || !a.Addr().Unmap().IsLoopback()) {
				return fmt.Errorf("%s is %s, another host: it is not spoken to in plain text", e.host(), address)
			}
			return setUserTimeout(c)
		},
	}
	return d.DialContext(ctx, "tcp", e.Address)
}

func setUserTimeout(c syscall.RawConn) (err error) {
	controlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	return errors.Join(controlErr, err)
}

// authorize adds the token, as its file holds it now, to the requests of a stream.
func (e *Endpoint) authorize(ctx context.Context) (context.Context, error) {
	if e.TokenFile == "" {
		return ctx, nil
	}
	token, err := e.token()
	if err != nil {
		return nil, err
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), nil
}

// explain makes of gRPC's error one for people, with what to look at.
func explain(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the control plane ended the stream")
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	text := clip(plain(s.Message()), mostReason)
	for _, hint := range []struct{ has, remedy string }{
		{"certificate signed by unknown authority", "give its CA: --xds-ca"},
		{"certificate is valid for", "give the name in its certificate: --xds-server-name"},
		{"cannot validate certificate for", "give the name in its certificate: --xds-server-name"},
		{"first record does not look like a TLS handshake", "it speaks plain text: --xds-plaintext"},
		{"error reading server preface", "it may speak TLS: leave out --xds-plaintext, on this host give --xds-ca"},
		{"protocol version not supported", "kmesh-node speaks TLS 1.2 and later"},
		{"received message larger than max", fmt.Sprintf("a response may have %d MiB", mostResponse>>20)},
	} {
		if strings.Contains(text, hint.has) {
			return fmt.Errorf("%s; %s", text, hint.remedy)
		}
	}
	if c := s.Code(); c == codes.Unauthenticated || c == codes.PermissionDenied {
		return fmt.Errorf("%s: %s; see: --xds-token-file, --xds-pod-namespace", c, text)
	}
	return fmt.Errorf("%s: %s", s.Code(), text)
}

// plain takes gRPC's own words from around the reason why there is no connection.
func plain(text string) string {
	rest, ok := strings.CutPrefix(text, "connection error: desc = ")
	if quoted, err := strconv.Unquote(rest); ok && err == nil {
		text = strings.TrimPrefix(quoted, "transport: ")
	}
	return text
}

// mostReason bounds what is said of a stream that ended, in bytes.
const mostReason = 500

// clip keeps what comes from outside to one line of text and that many bytes.
func clip(s string, most int) string {
	return printable.Clip(strings.Join(strings.Fields(s), " "), most)
}
