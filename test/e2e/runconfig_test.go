// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// yamlTo is a listener that leads to a cluster of its own.
func yamlTo(name, vip string, endpoints ...string) string {
	var lb []string
	for _, e := range endpoints {
		lb = append(lb, fmt.Sprintf("{address: %q}", e))
	}
	return fmt.Sprintf(`kind: Cluster
name: %[1]s
loadAssignment: {clusterName: %[1]s, endpoints: [{lbEndpoints: [%[3]s]}]}
---
kind: Listener
name: %[1]s
address: %[2]s
filterChains: [{filters: [{name: tcp, tcpProxy: {cluster: %[1]s}}]}]
`, name, vip, strings.Join(lb, ", "))
}

// put writes a file in place of what stands there, at once.
func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// comesToReach waits until connections go there.
func comesToReach(t testing.TB, c *client, to, want string) {
	t.Helper()
	if err := eventually(func() error {
		if got := c.reach(to); got != want {
			return fmt.Errorf("a connection to %s reaches %s, want %s", to, got, want)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// held lists the names of a kind that get prints.
func (n *node) held(kind string) []string {
	n.t.Helper()
	var list []struct {
		Name string `json:"name"`
	}
	n.query(&list, "get", kind)
	names := []string{}
	for _, r := range list {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return names
}

func TestRunFollowsItsConfiguration(t *testing.T) {
	const service2 = "10.96.0.11:80"
	n := newNode(t)
	p := newPod(t)
	p.serve(service, service2, epA1, epA2, epB1)
	c := p.client(0)
	dir := filepath.Join(n.dir, "conf.d")
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, a, yamlTo("a", service, epA1))
	// The turns are far between: it is the watch that tells.
	s := n.serve("--config", dir, "--reconcile-interval", "1h")
	s.status(0, "configuration of 2 resources")
	n.enroll(p)
	wantReach(t, c, service, epA1)

	put(t, a, yamlTo("a", service, epA2))
	comesToReach(t, c, service, epA2)
	put(t, b, yamlTo("b", service2, epB1))
	comesToReach(t, c, service2, epB1)

	// What is wrong is named, and nothing of it is in force.
	at := s.now()
	put(t, a, strings.Replace(yamlTo("a", service, epB1), "cluster: a}}", "cluster: \"\"}}", 1))
	s.status(at, "configuration of 4 resources as before", a, "Listener a")
	s.logged("level=error", "what was in force stays", a)
	put(t, b, yamlTo("b", service2, epA1)) // right, but not alone
	s.signal(unix.SIGHUP)
	s.hear(at, "RELOADING=1", "READY=1")
	wantReach(t, c, service, epA2)
	wantReach(t, c, service2, epB1)
	put(t, a, yamlTo("a", service, epB1))
	comesToReach(t, c, service, epB1)
	comesToReach(t, c, service2, epA1)
	s.status(at, "configuration of 4 resources")

	// What came by another way stays, what the files hold no longer goes.
	n.applyOwn("c", "10.96.0.12:80", epA1)
	if err := os.Remove(b); err != nil {
		t.Fatal(err)
	}
	comesToReach(t, c, service2, service2)
	if got := n.held("clusters"); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("clusters %q, want a and c", got)
	}

	// A directory that goes says nothing; one that is empty holds nothing.
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	s.logged(dir + " is not there: what it held stays")
	wantReach(t, c, service, epB1)
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	put(t, a, yamlTo("a", service, epA1))
	comesToReach(t, c, service, epA1)

	// So it is over a restart: what goes meanwhile goes at the next start.
	s.stop(exitDone)
	wantReach(t, c, service, epA1)
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	s = n.serve("--config", dir)
	s.status(0, "configuration of 0 resources")
	wantReach(t, c, service, service)
	if got := n.held("clusters"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("clusters %q, want c alone", got)
	}
	s.stop(exitDone)
}

// applyOwn applies a cluster and its listener, which the files of run do not hold.
func (n *node) applyOwn(name, vip string, endpoints ...string) {
	n.t.Helper()
	file := filepath.Join(n.dir, name+".yaml")
	put(n.t, file, yamlTo(name, vip, endpoints...))
	n.want(exitDone, "apply", "-f", file)
}

// As a ConfigMap is mounted: the files lead through ..data, which is swapped.
func TestRunFollowsAMountedConfiguration(t *testing.T) {
	m, c := lane(t)
	vol := filepath.Join(m.dir, "volume")
	if err := os.Mkdir(vol, 0o700); err != nil {
		t.Fatal(err)
	}
	version := func(name string, docs ...doc) {
		t.Helper()
		for _, err := range []error{
			os.Rename(m.write(docs...), filepath.Join(vol, name)),
			os.Symlink(name, filepath.Join(vol, "..tmp")),
			os.Rename(filepath.Join(vol, "..tmp"), filepath.Join(vol, "..data")),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	serviceAt := func(ip string) doc {
		return wdelta(nil, wsvc("a", vips("10.96.0.1"), wport(80, 8080)), wpod("a"+ip, ip, serves("a", wport(80, 8080))))
	}
	version("..1", serviceAt(ip1))
	if err := os.Symlink("..data/00.json", filepath.Join(vol, "a.json")); err != nil {
		t.Fatal(err)
	}
	s := m.serve("--config", vol, "--reconcile-interval", "1h")
	wantReach(t, c, vipA, at(ip1, 8080))
	m.apply(wdelta(nil, wsvc("b", vips("10.96.0.2"), wport(80, 9090)), wpod("b1", ip3, serves("b", wport(80, 9090)))))
	for i, ip := range []string{ip2, ip4, ip1} {
		version(fmt.Sprintf("..%d", i+2), serviceAt(ip))
		comesToReach(t, c, vipA, at(ip, 8080))
	}
	version("..9", wdelta(nil))
	comesToReach(t, c, vipA, vipA)
	wantReach(t, c, vipB, at(ip3, 9090))
	s.status(0, "configuration of 0 resources")
	s.stop(exitDone)
}

func TestRunStartsWithWhatIsWrongOnlyWhereSomethingIsInForce(t *testing.T) {
	n := newNode(t)
	before, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(n.dir, "a.yaml")
	put(t, file, "kind: Cluster\nname: \"\"\n")
	s := n.launch("--config", file)
	s.ended(exitRejected)
	s.logged("kmesh-node: check configuration: "+file, "name")
	if err := before.unchanged(); err != nil {
		t.Errorf("after a run that was refused:\n%v", err)
	}

	p := newPod(t)
	p.serve(service, epA1)
	n.up()
	n.enroll(p)
	n.applyOwn("in-force", service, epA1)
	s = n.serve("--config", file)
	s.status(0, "configuration of 0 resources as before", file)
	wantReach(t, p.client(0), service, epA1)
	put(t, file, yamlTo("a", service, epA1))
	s.status(0, "configuration of 2 resources")
	s.stop(exitDone)
}

func TestRunStartsWithoutItsConfiguration(t *testing.T) {
	n := newNode(t)
	p := newPod(t)
	p.serve(service, epA1, epA2)
	c := p.client(0)
	dir := filepath.Join(n.dir, "etc", "kmesh-node")
	t.Setenv("KMESH_NODE_CONFIG", dir)
	s := n.serve("--reconcile-interval", "1h")
	n.enroll(p)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// It was not there to be watched at first, but is from then on.
	for _, ep := range []string{epA1, epA2, epA1} {
		put(t, filepath.Join(dir, "a.yaml"), yamlTo("a", service, ep))
		comesToReach(t, c, service, ep)
	}
	s.stop(exitDone)
}
