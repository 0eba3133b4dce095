// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// adminEnd is the admin endpoint of a run, on a unix socket.
type adminEnd struct {
	t      testing.TB
	path   string
	client *nethttp.Client
	base   string
}

// serveAdmin starts run with an admin endpoint.
func (n *node) serveAdmin(flags ...string) (*daemon, *adminEnd) {
	n.t.Helper()
	a := newAdmin(n.t)
	return n.serve(append([]string{"--admin-address=unix:" + a.path}, flags...)...), a
}

func newAdmin(t testing.TB) *adminEnd {
	t.Helper()
	dir, err := os.MkdirTemp(workDir, "a") // a socket's name has little room
	if err != nil {
		t.Fatal(err)
	}
	a := &adminEnd{t: t, path: filepath.Join(dir, "admin"), base: "http://localhost"}
	a.client = &nethttp.Client{Transport: &nethttp.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", a.path)
		}}, Timeout: 3 * patience}
	return a
}

// ask sends a request, and returns the status and the body.
func (a *adminEnd) ask(method, path string) (int, string) {
	a.t.Helper()
	req, err := nethttp.NewRequest(method, a.base+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	r, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// get asks for a page that is there.
func (a *adminEnd) get(path string) string {
	a.t.Helper()
	code, body := a.ask("GET", path)
	if code != nethttp.StatusOK {
		a.t.Fatalf("%s: %d %s", path, code, body)
	}
	return body
}

// becomes waits until a page answers so, with all of these words.
func (a *adminEnd) becomes(path string, code int, words ...string) {
	a.t.Helper()
	err := eventually(func() error {
		got, body := a.ask("GET", path)
		if got != code {
			return fmt.Errorf("%s: %d %s", path, got, body)
		}
		for _, w := range words {
			if !strings.Contains(body, w) {
				return fmt.Errorf("%s does not say %q: %s", path, w, body)
			}
		}
		return nil
	})
	if err != nil {
		a.t.Error(err)
	}
}

var ownSample = regexp.MustCompile(`(?m)^kmesh_node_([^ ]+) ([^ ]+)$`)

// scrape returns all samples of kmesh-node's own, by name and labels.
func (a *adminEnd) scrape() map[string]float64 {
	a.t.Helper()
	m := map[string]float64{}
	for _, s := range ownSample.FindAllStringSubmatch(a.get("/metrics"), -1) {
		v, err := strconv.ParseFloat(s[2], 64)
		if err != nil {
			a.t.Fatal(err)
		}
		m[s[1]] = v
	}
	return m
}

// wantSamples waits until these samples are there, and others are not.
func (a *adminEnd) wantSamples(want map[string]float64, absent ...string) {
	a.t.Helper()
	err := eventually(func() error {
		got := a.scrape()
		for name, v := range want {
			if have, ok := got[name]; !ok || have != v {
				return fmt.Errorf("%s is %v (there: %v), want %v", name, have, ok, v)
			}
		}
		for _, name := range absent {
			if v, ok := got[name]; ok {
				return fmt.Errorf("%s is there: %v", name, v)
			}
		}
		return nil
	})
	if err != nil {
		a.t.Error(err)
	}
}
