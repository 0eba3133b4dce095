// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// How an address is spoken to, and what is refused before anything is opened.
func TestEndpoints(t *testing.T) {
	long := "unix:/" + strings.Repeat("x", 107)
	for _, c := range []struct {
		e    Endpoint
		tls  bool
		here bool   // it may lead to this host alone
		err  string // "": it is taken
	}{
		{e: Endpoint{Address: "127.0.0.1:15010"}, here: true},
		{e: Endpoint{Address: "127.9.9.9:15010"}, here: true},
		{e: Endpoint{Address: "[::1]:15010"}, here: true},
		{e: Endpoint{Address: "[::ffff:127.0.0.1]:15010"}, here: true},
		{e: Endpoint{Address: "localhost:15010"}, here: true},
		{e: Endpoint{Address: "unix:/run/xds"}, here: true},
		{e: Endpoint{Address: "unix:/run/xds", TokenFile: "t"}, here: true},
		{e: Endpoint{Address: "localhost:15010", TokenFile: "t"}, here: true},
		{e: Endpoint{Address: "localhost:15010", TokenFile: "t", Plaintext: true}, here: true},
		{e: Endpoint{Address: "127.0.0.1:15012", CA: "c"}, tls: true},
		{e: Endpoint{Address: "127.0.0.1:15012", ServerName: "istiod"}, tls: true},
		{e: Endpoint{Address: "istiod.istio-system.svc:15012"}, tls: true},
		{e: Endpoint{Address: "10.0.0.1:15012", TokenFile: "t"}, tls: true},
		{e: Endpoint{Address: "[2001:db8::1]:15012"}, tls: true},
		{e: Endpoint{Address: "localhost.example.com:15012"}, tls: true},
		{e: Endpoint{Address: "10.0.0.1:15010", Plaintext: true}},

		{e: Endpoint{Address: "10.0.0.1:15010", Plaintext: true, TokenFile: "t"}, err: "a token is not sent in plain text"},
		{e: Endpoint{Address: "10.0.0.1:15010", Plaintext: true, CA: "c"}, err: "are of TLS"},
		{e: Endpoint{Address: "unix:/run/xds", CA: "c"}, err: "without TLS"},
		{e: Endpoint{Address: "unix:"}, err: "not absolute"},
		{e: Endpoint{Address: "unix:xds"}, err: "not absolute"},
		{e: Endpoint{Address: long}, err: "107 bytes at most"},
		{e: Endpoint{Address: "istiod"}, err: "missing port"},
		{e: Endpoint{Address: "istiod:"}, err: "is not 1..65535"},
		{e: Endpoint{Address: "istiod:0"}, err: "is not 1..65535"},
		{e: Endpoint{Address: "istiod:65536"}, err: "is not 1..65535"},
		{e: Endpoint{Address: "istiod:http"}, err: "is not 1..65535"},
		{e: Endpoint{Address: ":15010"}, err: "neither an address nor"},
		{e: Endpoint{Address: "::1:15010"}, err: "too many colons"},
		{e: Endpoint{Address: "http://istiod:15010"}, err: "too many colons"},
		{e: Endpoint{Address: "a b:15010"}, err: "neither an address nor"},
		{e: Endpoint{Address: "dns%2f:15010"}, err: "neither an address nor"},
	} {
		err := c.e.check()
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) || exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), "--xds-address") {
				t.Errorf("%+v: %v, want %q", c.e, err, c.err)
			}
		case err != nil:
			t.Errorf("%+v: %v", c.e, err)
		case c.e.tls() != c.tls || c.e.onlyLoopback() != c.here && !strings.HasPrefix(c.e.Address, unixPrefix):
			t.Errorf("%+v: TLS %t, this host alone %t", c.e, c.e.tls(), c.e.onlyLoopback())
		}
	}
}

// A name that leads to another host gets no plain text, whatever it says.
func TestPlainTextGoesToThisHostAlone(t *testing.T) {
	p := serving(t, controlplane.Config{Listen: "127.0.0.1:0"})
	// The check of the address is passed by, as a name server could have it.
	for _, e := range []Endpoint{{Address: "192.0.2.1:15010"}, {Address: "[2001:db8::1]:15010"}} {
		e.TokenFile, e.Plaintext = "t", true
		if conn, err := e.dial(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "another host") {
			if conn != nil {
				must(t, conn.Close())
			}
			t.Errorf("%s: %v", e.Address, err)
		}
	}
	e := Endpoint{Address: p.Address()}
	conn, err := e.dial(t.Context(), "")
	must(t, err)
	must(t, conn.Close())
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// secured is a control plane with a certificate for a name, and its CA's file.
func secured(t *testing.T, cfg controlplane.Config, names ...string) (p *controlplane.Peer, ca *controlplane.CA, file string) {
	t.Helper()
	ca, err := controlplane.NewCA("test")
	must(t, err)
	cfg.Certificate, err = ca.Issue(names...)
	must(t, err)
	return serving(t, cfg), ca, write(t, filepath.Join(t.TempDir(), "ca.pem"), string(ca.PEM()))
}

// lastError is why there is no stream, once there was an attempt.
func lastError(c *client) string {
	<-c.waits
	return c.State().LastError
}

func TestTLS(t *testing.T) {
	p, _, ca := secured(t, controlplane.Config{}, "istiod.test")
	c := running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address(), CA: ca, ServerName: "istiod.test"}, Variant: Delta})
	exchange(t, streamOf(t, p), versioned(of(t, ClusterType), "1"))
	if !c.State().Connected {
		t.Error("not connected")
	}
}

// Without --xds-server-name the certificate is of the address.
func TestTheAddressIsTheNameInTheCertificate(t *testing.T) {
	p, _, ca := secured(t, controlplane.Config{}, "127.0.0.1")
	running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address(), CA: ca}, Variant: Delta})
	streamOf(t, p)
}

// What does not prove who it is gets nothing, and what to do about it is said.
func TestCertificatesAreVerified(t *testing.T) {
	p, _, ca := secured(t, controlplane.Config{}, "istiod.test")
	other, err := controlplane.NewCA("other")
	must(t, err)
	otherFile := write(t, filepath.Join(t.TempDir(), "ca.pem"), string(other.PEM()))
	for _, tc := range []struct {
		e    Endpoint
		want string
	}{
		{Endpoint{CA: otherFile, ServerName: "istiod.test"}, "give its CA: --xds-ca"},
		{Endpoint{ServerName: "istiod.test"}, "give its CA: --xds-ca"},
		{Endpoint{CA: ca, ServerName: "other.test"}, "--xds-server-name"},
		{Endpoint{CA: ca}, "--xds-server-name"},
	} {
		tc.e.Address = p.Address()
		c := running(t, newClusters(), Config{Endpoint: tc.e, Variant: Delta})
		if got := lastError(c); !strings.Contains(got, tc.want) {
			t.Errorf("%+v: %s, want %q", tc.e, got, tc.want)
		}
	}
	if n := len(p.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	p, _, ca := secured(t, controlplane.Config{MaxTLS: tls.VersionTLS11}, "istiod.test")
	c := running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address(), CA: ca, ServerName: "istiod.test"}, Variant: Delta})
	if got := lastError(c); !strings.Contains(got, "protocol version") {
		t.Error(got)
	}
	p, _, ca = secured(t, controlplane.Config{MaxTLS: tls.VersionTLS12}, "istiod.test")
	running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address(), CA: ca, ServerName: "istiod.test"}, Variant: Delta})
	streamOf(t, p)
}

func TestPlainTextWhereTLSIsMeantSaysSo(t *testing.T) {
	p := serving(t, controlplane.Config{})
	c := running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address(), ServerName: "istiod.test"}, Variant: Delta})
	if got := lastError(c); !strings.Contains(got, "--xds-plaintext") {
		t.Error(got)
	}
}

func TestAUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "x") // t.TempDir may be too long for a socket
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	p := serving(t, controlplane.Config{Listen: "unix:" + filepath.Join(dir, "s")})
	running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address()}, Variant: Delta})
	exchange(t, streamOf(t, p), versioned(of(t, ClusterType), "1"))
}

// Token and CA are those that the files hold when a stream is opened.
func TestFilesAreReadForEachStream(t *testing.T) {
	p, _, ca := secured(t, controlplane.Config{}, "istiod.test")
	token := write(t, filepath.Join(t.TempDir(), "token"), "first\n")
	c := running(t, newClusters(), Config{Variant: Delta,
		Endpoint: Endpoint{Address: p.Address(), CA: ca, ServerName: "istiod.test", TokenFile: token}})
	exchange(t, streamOf(t, p), versioned(of(t, ClusterType), "1"))

	// Another token.
	write(t, token, "second")
	c.Reconnect()
	exchange(t, streamOf(t, p), versioned(of(t, ClusterType), "1"))
	equal(t, "tokens", p.Tokens(), []string{"first", "second"})

	// A token that is not what it was: what there is goes on, and the next one is tried.
	p.SetToken("third")
	c.Reconnect()
	if got := lastError(c); !strings.Contains(got, "Unauthenticated") || !strings.Contains(got, "--xds-token-file") {
		t.Error(got)
	}
	write(t, token, "third")
	c.again <- patienceOver
	exchange(t, streamOf(t, p), versioned(of(t, ClusterType), "1"))

	// Another CA.
	next, err := controlplane.NewCA("next")
	must(t, err)
	cert, err := next.Issue("istiod.test")
	must(t, err)
	p.SetCertificate(cert)
	c.Reconnect()
	if got := lastError(c); !strings.Contains(got, "--xds-ca") {
		t.Error(got)
	}
	write(t, ca, string(next.PEM()))
	c.again <- patienceOver
	exchange(t, streamOf(t, p), versioned(of(t, ClusterType), "1"))
}

func TestNoTokenWithoutAFile(t *testing.T) {
	p := serving(t, controlplane.Config{})
	running(t, newClusters(), Config{Endpoint: Endpoint{Address: p.Address()}, Variant: Delta})
	streamOf(t, p)
	equal(t, "tokens", p.Tokens(), []string{""})
}

// Files that are not what they are to be end an attempt, with what and where.
func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	good := write(t, filepath.Join(dir, "token"), "t")
	for _, tc := range []struct {
		e    Endpoint
		want string
	}{
		{Endpoint{CA: filepath.Join(dir, "none")}, "no such file"},
		{Endpoint{CA: dir}, "is a directory"},
		{Endpoint{CA: write(t, filepath.Join(dir, "text"), "no PEM")}, "no certificate"},
		{Endpoint{CA: write(t, filepath.Join(dir, "large"), strings.Repeat("x", mostCA+1))}, "more than"},
		{Endpoint{TokenFile: filepath.Join(dir, "none")}, "no such file"},
		{Endpoint{TokenFile: write(t, filepath.Join(dir, "empty"), " \n")}, "it is empty"},
		{Endpoint{TokenFile: write(t, filepath.Join(dir, "lines"), "a\nb")}, "byte 1 "},
		{Endpoint{TokenFile: write(t, filepath.Join(dir, "long"), strings.Repeat("x", mostToken+1))}, "more than"},
	} {
		tc.e.Address = "127.0.0.1:1"
		path := tc.e.CA + tc.e.TokenFile
		err := tc.e.CheckFiles()
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) || exit.Code(err) != exit.NotReady {
			t.Errorf("%+v: %v, want %q", tc.e, err, tc.want)
		}
		c := running(t, newClusters(), Config{Endpoint: tc.e, Variant: Delta})
		if got := lastError(c); !strings.Contains(got, tc.want) {
			t.Errorf("%+v: %s, want %q", tc.e, got, tc.want)
		}
	}
	must(t, (&Endpoint{Address: "127.0.0.1:1", TokenFile: good}).CheckFiles())
}

// A peer that is gone is found by the kernel: gRPC has nothing to do on a connection that
// is silent.
func TestTheKernelWatchesTheConnection(t *testing.T) {
	p := serving(t, controlplane.Config{})
	e := Endpoint{Address: p.Address()}
	conn, err := e.dial(t.Context(), "")
	must(t, err)
	defer func() { must(t, conn.Close()) }()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	must(t, err)
	for _, o := range []struct{ level, name, want int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 10},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 30_000},
	} {
		var got int
		var getErr error
		must(t, raw.Control(func(fd uintptr) { got, getErr = unix.GetsockoptInt(int(fd), o.level, o.name) }))
		must(t, getErr)
		if got != o.want {
			t.Errorf("option %d: %d, want %d", o.name, got, o.want)
		}
	}
}
