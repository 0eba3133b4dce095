// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// controlled is a control plane with TLS and a token, and settings of the unit that
// name it.
func controlled(t *testing.T) *controlplane.Peer {
	t.Helper()
	ca, err := controlplane.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	p := controlplane.NewPeer(controlplane.Config{Certificate: cert, Token: "secret"})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	dir := t.TempDir()
	files := map[string][]byte{"ca.pem": ca.PEM(), "token": []byte("secret\n")}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set(t, "KMESH_NODE_CONFIG=", "KMESH_NODE_XDS_ADDRESS="+p.Address(), "KMESH_NODE_XDS_CA="+dir+"/ca.pem",
		"KMESH_NODE_XDS_TOKEN_FILE="+dir+"/token", "KMESH_NODE_XDS_NODE_IP="+podIP)
	return p
}

// says waits for the unit's status to have these words.
func says(t *testing.T, words ...string) {
	t.Helper()
	wait(t, func() error {
		text := property(t, "StatusText")
		for _, w := range words {
			if !strings.Contains(text, w) {
				return fmt.Errorf("the unit's status has no %q: %s", w, text)
			}
		}
		return nil
	})
}

// The sandbox of the unit is one that gRPC, TLS and the probes work in; its start is over
// when the control plane has said all, and its end is no reason to end.
func TestStartWaitsForTheControlPlane(t *testing.T) {
	fresh(t)
	p := controlled(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, "systemctl", "start", "--no-block", unit)
	st, err := p.Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	says(t, "waiting for the first sync from "+p.Address())
	if s := property(t, "ActiveState"); s != "activating" {
		t.Errorf("before the first sync the unit is %s", s)
	}
	fleet, err := controlplane.Fleet{Services: 3, Endpoints: 2}.Ambient()
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Play(ctx, fleet...); err != nil {
		t.Fatal(err)
	}
	becomes(t, "ActiveState", "active")
	says(t, "mode workload", "xds synced, connected to "+p.Address())
	answer, err := http.Get("http://127.0.0.1:15200/readyz")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %s", answer.Status)
	}
	if got := must(t, node, "get", "services", "-o", "json"); strings.Count(got, `"hostname"`) != 3 {
		t.Errorf("services: %s", got)
	}

	p.Stop()
	says(t, "no stream from "+p.Address())
	if n, s := property(t, "NRestarts"), property(t, "ActiveState"); n != "0" || s != "active" {
		t.Errorf("without its control plane: %s, %s restarts", s, n)
	}
	must(t, "systemctl", "stop", unit)
	if got := must(t, node, "get", "services", "-o", "json"); strings.Count(got, `"hostname"`) != 3 {
		t.Errorf("services after the service has stopped: %s", got)
	}
}

// What is in the unit's settings for files, and a control plane beside it, is told.
func TestAControlPlaneBesideFilesIsRefused(t *testing.T) {
	fresh(t)
	set(t, "KMESH_NODE_XDS_ADDRESS=127.0.0.1:1")
	if r := try(t, "systemctl", "start", unit); r.code == 0 {
		t.Error("the start succeeded")
	}
	if code := property(t, "ExecMainStatus"); code != "2" {
		t.Errorf("exit code %s", code)
	}
	if r := must(t, "journalctl", "-u", unit, "-n", "20", "--no-pager"); !strings.Contains(r, "KMESH_NODE_CONFIG may be set empty") {
		t.Errorf("no remedy: %s", r)
	}
}
