// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// capture returns the directory with what a control plane sent: next to the
// repository where it is there, else this repository's copy.
func capture(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"../../../shared/xds", "../../internal/xds/testdata/xds", "../../internal/xds/testdata", "testdata"} {
		if path, err := filepath.Abs(filepath.Join(dir, name)); err == nil && isDir(path) {
			return path
		}
	}
	t.Fatalf("capture %s is in neither place", name)
	return ""
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// only copies the files of a capture with this ending.
func only(t *testing.T, dir, ending string) string {
	t.Helper()
	to := t.TempDir()
	files, err := filepath.Glob(filepath.Join(dir, "*"+ending))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no %s: %v", dir, ending, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(file)), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// forms are a capture as a whole, its binary files and its JSON files.
func forms(t *testing.T, name string, fn func(t *testing.T, dir string)) {
	dir := capture(t, name)
	t.Run("both", func(t *testing.T) { fn(t, dir) })
	t.Run("binary", func(t *testing.T) { fn(t, only(t, dir, ".pb")) })
	t.Run("JSON", func(t *testing.T) { fn(t, only(t, dir, ".json")) })
}

func TestCaptureSidecarFile(t *testing.T) {
	forms(t, "sidecar-file", func(t *testing.T, dir string) {
		n := upNode(t)
		p := newPod(t)
		p.serve("10.0.1.1:9081", "10.0.1.2:9081", "10.0.2.1:9081", "10.0.3.1:9082", "10.0.4.1:9082",
			"10.0.3.1:9444", "10.0.4.1:9444", "10.0.5.1:8080", "10.0.6.1:8080",
			"10.96.0.10:9080", "10.96.0.11:9080", "10.96.0.11:9443", "10.96.0.12:80", "10.96.0.13:80",
			"10.96.0.10:15001", "10.96.0.10:15006", "10.96.0.10:7070")
		n.enroll(p)
		c := p.client(0)
		r := n.want(exitDone, "apply", "-f", dir)
		said := r.out + r.err
		// 70, 20 and 10; the cluster of the last has two localities that weigh the
		// same and LEAST_REQUEST, so its share alone is exact.
		for range 3 {
			got := c.spread("10.96.0.10:9080", 100)
			if got["10.0.1.1:9081"] != 35 || got["10.0.1.2:9081"] != 35 || got["10.0.2.1:9081"] != 20 ||
				got["10.0.3.1:9082"]+got["10.0.4.1:9082"] != 10 {
				t.Errorf("10.96.0.10:9080, 100 connections:%v", got)
			}
		}
		wantOnly(t, c.spread("10.96.0.11:9080", 100), "10.0.3.1:9082", "10.0.4.1:9082")
		wantOnly(t, c.spread("10.96.0.11:9443", 100), "10.0.3.1:9444", "10.0.4.1:9444")
		// The route of http-c depends on the request; the others are not for us.
		for _, left := range []string{"10.96.0.12:80", "10.96.0.13:80", "10.96.0.10:15001", "10.96.0.10:15006", "10.96.0.10:7070"} {
			wantReach(t, c, left, left)
		}
		status := n.want(exitDone, "status")
		for _, named := range []string{"http-c.ns.svc.cluster.local:80", "end-user", "outbound|7070||ext.example.com"} {
			if !strings.Contains(said, named) {
				t.Errorf("%v\napply does not name %s", r, named)
			}
			if !strings.Contains(status.out, named) {
				t.Errorf("%v\nstatus does not name %s", status, named)
			}
		}
	})
}

func TestCaptureSidecarKube(t *testing.T) {
	forms(t, "sidecar-kube-nohbone", func(t *testing.T, dir string) {
		n := upNode(t)
		check := n.sidecarKube()
		n.want(exitDone, "apply", "-f", dir)
		check()
	})
}

// sidecarKube makes a pod for the capture of that name, and returns what looks whether its
// connections go where that says.
func (n *node) sidecarKube() func() {
	n.t.Helper()
	p := newPod(n.t)
	a := []string{"10.244.1.11:8080", "10.244.1.12:8080", "10.244.2.13:8080"}
	b := []string{"10.244.1.21:9090", "10.244.1.22:9090", "10.244.2.23:9090"}
	p.serve(append(a, b...)...)
	p.serve("10.96.1.1:80", "10.96.1.2:90", "10.96.1.50:15008", "10.96.0.1:443", "10.244.1.50:15008")
	n.enroll(p)
	c := p.client(0)
	return func() {
		n.t.Helper()
		wantOnly(n.t, c.spread("10.96.1.1:80", 300), a...)
		wantOnly(n.t, c.spread("10.96.1.2:90", 300), b...)
		wantReach(n.t, c, "10.96.1.50:15008", "10.244.1.50:15008")
		wantReach(n.t, c, "10.96.0.1:443", "10.96.0.1:443") // no endpoints
	}
}

func TestApplyOfTheSameCaptureAgainChangesNothing(t *testing.T) {
	n := upNode(t)
	dir := capture(t, "sidecar-file")
	var before, after any
	n.want(exitDone, "apply", "-f", dir)
	first := n.generation()
	n.query(&before, "get", "clusters")
	n.want(exitDone, "apply", "-f", dir)
	n.query(&after, "get", "clusters")
	if second := n.generation(); first != second {
		t.Errorf("generation %d, then %d", first, second)
	}
}

func TestClustersThatExpectMutualTLSAreNamed(t *testing.T) {
	n := upNode(t)
	tls := static("secure", epA1)
	tls["transportSocket"] = obj{"name": "envoy.transport_sockets.tls", "typedConfig": obj{
		"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"}}
	r := n.apply(cds(tls, static("plain", epA2)))
	if said := r.out + r.err; !contains(said, "secure") || !contains(strings.ToLower(said), "plain text") {
		t.Errorf("%v\ndoes not warn about the cluster that expects TLS", r)
	}
}

// The 1000 services of the capture are numbered: service i has the (i+1)th address
// of its range and its ten endpoints the next ten of theirs, 250 to a /24.
func TestCaptureScale1000(t *testing.T) {
	at := func(prefix string, i int) string {
		return portAddr(fmt.Sprintf("%s.%d.%d", prefix, i/250, i%250), 9080)
	}
	n := upNode(t)
	p := newPod(t)
	n.enroll(p)
	n.want(exitDone, "apply", "-f", capture(t, "scale-1000"))
	c := p.client(0)
	for _, i := range []int{73, 535, 781} {
		var endpoints []string
		for k := range 10 {
			endpoints = append(endpoints, at("10.200", 10*i+k+1))
		}
		p.serve(endpoints...)
		vip := at("10.100", i+1)
		p.serve(vip)
		wantOnly(t, c.spread(vip, 400), endpoints...)
	}
	for kind, want := range map[string]int{"clusters": 1003, "listeners": 1002} {
		var list []any
		n.query(&list, "get", kind)
		if len(list) != want {
			t.Errorf("get %s shows %d, want %d", kind, len(list), want)
		}
	}
}
