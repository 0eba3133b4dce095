// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

var unavailable = status.Error(codes.Unavailable, "the test ends the stream")

// authority makes a CA, its file and a certificate of it for these names.
func authority(t testing.TB, dir, name string, for_ ...string) (file string, cfg controlplane.Config) {
	t.Helper()
	ca, err := controlplane.NewCA(name)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Certificate, err = ca.Issue(for_...)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, name+".pem")
	if err := os.WriteFile(file, ca.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file, cfg
}

func TestLiveTLSAndToken(t *testing.T) {
	n, _, c := site(t)
	ca, cfg := authority(t, n.dir, "ca", "istiod.istio-system.svc", "127.0.0.1")
	cfg.Token = "first"
	cp := newPeer(t, cfg)
	token := filepath.Join(n.dir, "token")
	put(t, token, "first\n")
	s := n.linked(cp.Address(), "", "--xds-ca", ca, "--xds-server-name", "istiod.istio-system.svc", "--xds-token-file", token)
	st := cp.next()
	docs := []doc{cds(static("a", epA1)), lds(listener(service, toCluster("a")))}
	st.taken(docs...)
	s.hear(0, "READY=1")
	wantReach(t, c, service, epA1)

	// The token was renewed: the next stream brings the new one. An old one is refused,
	// which is told, and the data plane stays as it is.
	cp.SetToken("second")
	st.End(unavailable)
	s.logged("Unauthenticated", "--xds-token-file")
	wantReach(t, c, service, epA1)
	put(t, token, "second\n")
	st = cp.next()
	st.taken(docs...)
	if got := cp.Tokens(); !slices.Equal(got, []string{"first", "second"}) || cp.Refused() == 0 {
		t.Errorf("tokens %q, %d refused", got, cp.Refused())
	}

	// Another CA's certificate is not believed, not even from the same address.
	other, otherCfg := authority(t, n.dir, "other", "istiod.istio-system.svc")
	cp.SetCertificate(otherCfg.Certificate)
	cp.CutAfter(0)
	st.End(unavailable)
	s.logged("unknown authority", "--xds-ca")
	wantReach(t, c, service, epA1)
	// The file of the CA is read again for each connection.
	data, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	put(t, ca, string(data))
	cp.next().taken(docs...)
	s.stop(exitDone)
}

// Of the server's name, its version of TLS and what may go over the wire in plain text.
func TestLiveUntrustedControlPlane(t *testing.T) {
	n, _, c := site(t)
	n.applyOwn("stays", service, epA1)
	ca, cfg := authority(t, n.dir, "ca", "istiod.istio-system.svc")
	cfg.MaxTLS = 0x0302 // 1.1
	old := newPeer(t, cfg)
	cfg.MaxTLS = 0
	cp := newPeer(t, cfg)
	plain := newPeer(t, controlplane.Config{})
	for _, x := range []struct {
		at    *peer
		flags []string
		words []string
	}{
		{old, []string{"--xds-ca", ca, "--xds-server-name", "istiod.istio-system.svc"}, []string{"protocol version"}},
		{cp, []string{"--xds-ca", ca, "--xds-server-name", "other.example"}, []string{"--xds-server-name"}},
		{cp, []string{"--xds-server-name", "istiod.istio-system.svc"}, []string{"unknown authority", "--xds-ca"}},
		{plain, []string{"--xds-ca", ca}, []string{"plain text"}},
	} {
		s := n.linked(x.at.Address(), "", append(x.flags, soon)...)
		s.hear(0, "READY=1")
		s.logged(append(x.words, "level=warning")...)
		s.status(0, "not synced")
		wantReach(t, c, service, epA1)
		s.stop(exitDone)
		if got := x.at.Requests(); len(got) != 0 {
			t.Errorf("%v: said %+v", x.flags, got)
		}
	}
}

func TestLiveFlagsThatAreRefused(t *testing.T) {
	n := newNode(t)
	dir := t.TempDir()
	for _, x := range []struct {
		args  []string
		words []string
	}{
		{[]string{"--xds-address", "127.0.0.1:1", "--config", dir}, []string{"--config", "--xds-address"}},
		{[]string{"--xds-address", "nowhere"}, []string{"--xds-address"}},
		{[]string{"--xds-address", "127.0.0.1:0"}, []string{"port"}},
		{[]string{"--xds-address", "127.0.0.1:1", "--xds-variant", "both"}, []string{"--xds-variant"}},
		{[]string{"--xds-address", "192.0.2.1:1", "--xds-plaintext", "--xds-token-file", "/dev/null"}, []string{"token", "plain text"}},
		{[]string{"--xds-ca", filepath.Join(dir, "none")}, []string{"--xds-ca", "--xds-address"}},
		{[]string{"--xds-address", "127.0.0.1:1", "--xds-node-ip", "0.0.0.0"}, []string{"--xds-node-ip"}},
		{[]string{"--xds-address", "127.0.0.1:1", "--xds-pod-name", "a~b"}, []string{"--xds-pod-name"}},
	} {
		refused(t, exitUsage, n.run(append([]string{"run"}, x.args...)...), x.words...)
	}
	refused(t, exitNotReady, n.run("run", "--xds-address", "127.0.0.1:1", "--xds-ca", filepath.Join(dir, "none")), "none")
	w := newNodeOf(t, "workload")
	refused(t, exitUsage, w.run("run", "--xds-address", "127.0.0.1:1", "--xds-variant", "sotw"), "delta")
	if left := n.pins(); len(left) != 0 {
		t.Errorf("pins after runs that were refused: %v", left)
	}
}

// Nothing is said to another host in plain text that is not asked for: what listens there
// hears a handshake of TLS.
func TestLiveOtherHostIsSpokenToByTLS(t *testing.T) {
	m, c := lane(t)
	ca, cfg := authority(t, m.dir, "ca", nodeIP4)
	cfg.Listen = nodeIP4 + ":0"
	cp := newPeer(t, cfg)
	plain := newPeer(t, controlplane.Config{Listen: nodeIP4 + ":0"})
	docs := []doc{wds(serviceA(), a1()), policies()}
	s := m.linked(cp.Address(), "", "--xds-ca", ca)
	cp.next().taken(docs...)
	s.hear(0, "READY=1")
	wantReach(t, c, vipA, at(ip1, 8080))
	s.stop(exitDone)

	s = m.linked(plain.Address(), "", soon)
	s.hear(0, "READY=1")
	s.logged("--xds-plaintext")
	s.stop(exitDone)
	if got := plain.Requests(); len(got) != 0 {
		t.Errorf("said in plain text: %+v", got)
	}
	s = m.linked(plain.Address(), "", "--xds-plaintext")
	plain.next().taken(docs...)
	s.hear(0, "READY=1")
	s.stop(exitDone)
}

// On this host it is spoken to in plain text, by whichever way.
func TestLiveControlPlaneOnThisHost(t *testing.T) {
	n, _, c := site(t)
	dir, err := os.MkdirTemp(workDir, "x")
	if err != nil {
		t.Fatal(err)
	}
	for i, listen := range []string{"unix:" + filepath.Join(dir, "xds"), "[::1]:0", "localhost:0"} {
		cp := newPeer(t, controlplane.Config{Listen: listen})
		s := n.linked(cp.Address(), "")
		ep := []string{epA1, epA2, epB1}[i]
		cp.again().taken(cds(static("a", ep)), lds(listener(service, toCluster("a"))))
		s.hear(0, "READY=1")
		wantReach(t, c, service, ep)
		s.stop(exitDone)
	}
}
