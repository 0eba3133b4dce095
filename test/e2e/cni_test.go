// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

// ADD has the pod managed and judged, DEL releases it.
func TestCNIPodComesAndGoes(t *testing.T) {
	m := newMesh(t)
	m.backends()
	r := newRuntime(m.node, m.net)
	stranger := m.pod(clientIP).client(0)
	m.apply(wds(serviceA(), a1(), wpod("p", serverIP)), denyAll())
	if err := r.status(); err != nil {
		t.Error(err)
	}
	p := r.add(serverIP)
	p.serve(at(serverIP, 7000))
	c := p.client(0)
	wantReach(t, c, vipA, at(ip1, 8080))
	if !denied(stranger, at(serverIP, 7000)) {
		t.Error("a denied connection was let in")
	}
	if err := r.check(p); err != nil {
		t.Error(err)
	}
	if len(r.records()) != 1 {
		t.Errorf("records %v", r.records())
	}
	r.del(p)
	if len(m.cookies()) > 0 || len(m.nicLinks(p.cookie())) > 0 || len(r.records()) > 0 {
		t.Errorf("after DEL: enrolled %v, links %v, records %v", m.cookies(), m.nicLinks(p.cookie()), r.records())
	}
	r.del(p) // again: nothing is known of it
}

// uninstall leaves the network as it was, and the plugin while a runtime needs it.
func TestCNIUninstallGivesTheNetworkBack(t *testing.T) {
	m := newMesh(t)
	r := newRuntime(m.node, m.net)
	p := r.add(serverIP)
	r.uninstall("stays: the runtime calls it for 1 pods")
	if got, err := os.ReadFile(r.network()); err != nil || string(got) != r.text {
		t.Errorf("the network is\n%s%v\nwas\n%s", got, err, r.text)
	}
	r.del(p) // as the runtime knows the network from before
	r.uninstall("uninstalled: " + filepath.Join(r.bin, "kmesh-cni"))
	r.uninstall("nothing to change")
	// Of a pod that went meanwhile no runtime tells a plugin that its network does not have.
	r.install()
	r.add("10.3.0.2")
	gone := r.sandbox("10.3.0.3")
	run(t, "", "ip", "netns", "add", gone.name+"x")
	gone.path += "x"
	if _, err := r.tryAdd(gone); err != nil {
		t.Fatal(err)
	}
	run(t, "", "ip", "netns", "del", gone.name+"x")
	r.uninstall("stays: the runtime calls it for 1 pods")
	refused(t, exitUsage, m.run("cni", "remove"), "install, uninstall")
	refused(t, exitNotReady, m.run("cni", "install", "--cni-conf-dir", t.TempDir()), "no network is configured")
}

// In ads mode, too, and by the very binary that is up.
func TestCNIInAdsMode(t *testing.T) {
	n := upNode(t)
	r := newRuntime(n, newFabric(t))
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	p := r.add()
	p.dev = "lo"
	p.serve(service, epA1)
	c := p.client(0)
	wantReach(t, c, service, epA1)
	if err := r.check(p); err != nil {
		t.Error(err)
	}
	r.del(p)
	wantReach(t, c, service, service)
}

// A pod that comes while nothing is up starts, and is managed from the next up on.
func TestCNIOpenLetsAPodInAndUpEnrolsIt(t *testing.T) {
	m := newMesh(t)
	m.backends()
	r := newRuntime(m.node, m.net)
	stranger := m.pod(clientIP).client(0)
	m.want(exitDone, "down")
	if err := r.status(); err != nil {
		t.Errorf("STATUS while ADD would succeed: %v", err)
	}
	p := r.add(serverIP)
	p.serve(at(serverIP, 7000))
	c := p.client(0)
	wantReach(t, c, vipA, vipA)
	if err := r.check(p); err != nil {
		t.Errorf("CHECK of a pod that was let in: %v", err)
	}
	if out := m.want(exitDone, "plan").out; !strings.Contains(out, "it is pod default/"+p.name) {
		t.Errorf("plan says nothing of the pod:\n%s", out)
	}
	configure := func() { m.apply(wds(serviceA(), a1(), wpod("p", serverIP)), denyAll()) }
	managed := func(when string) {
		t.Helper()
		wantReach(t, c, vipA, at(ip1, 8080))
		if !denied(stranger, at(serverIP, 7000)) {
			t.Errorf("%s: a denied connection was let in", when)
		}
		if err := r.check(p); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	m.up()
	configure()
	managed("after up")
	// Maps that are gone take every enrolment with them.
	m.want(exitDone, "down")
	m.up()
	configure()
	managed("after down and up")
	if out := m.want(exitDone, "plan").out; strings.Contains(out, "create  enrolment") {
		t.Errorf("another up would enrol it again:\n%s", out)
	}
	// The other mode enrols it as well, and takes it back with it.
	ads := m.in(t)
	ads.mode = "ads"
	ads.up()
	if !ads.cookies()[p.cookie()] {
		t.Error("ads mode did not enrol it")
	}
	m.up()
	configure()
	managed("after a change of modes")
	r.del(p)
}

// While nothing is up policy closed fails a pod, and leaves nothing of it.
func TestCNIClosedFailsAPod(t *testing.T) {
	m := newMesh(t)
	m.want(exitDone, "down")
	r := newRuntime(m.node, m.net, "--cni-failure-policy", "closed", "--cni-timeout", "2s")
	wantCode(t, r.status(), types.ErrPluginNotAvailable, "not up")
	p, err := r.tryAdd(r.sandbox(serverIP))
	wantCode(t, err, types.ErrTryAgainLater, "not up", "run")
	if len(r.records()) > 0 {
		t.Errorf("records of a pod that failed: %v", r.records())
	}
	r.del(p)
	m.up()
	if len(m.cookies()) > 0 {
		t.Error("a pod that failed is enrolled")
	}
	if _, err := r.tryAdd(p); err != nil {
		t.Error(err)
	}
	if !m.cookies()[p.cookie()] {
		t.Error("it is not enrolled once kmesh-node is up")
	}
}

// Whoever left stays out: the runtime's word is older.
func TestCNIPodThatLeftStaysOut(t *testing.T) {
	m := newMesh(t, "--control-address", "on")
	r := newRuntime(m.node, m.net)
	p, q := r.add("10.3.0.1"), r.add("10.3.0.2")
	m.want(exitDone, "unenroll", "--netns", p.path)
	wantReach(t, q.client(0), "0.0.0.2:930", "operation not permitted")
	for _, flags := range [][]string{{"--control-address", "on"}, {"--flow-entries", "4096"}} {
		m.up(flags...)
		if l := m.cookies(); len(l) > 0 {
			t.Errorf("up %v enrolled %v again", flags, l)
		}
	}
	if err := r.check(p); err != nil {
		t.Errorf("CHECK of a pod that left on purpose: %v", err)
	}
	m.want(exitDone, "down")
	for _, p := range []*pod{p, q} {
		if err := r.check(p); err != nil {
			t.Errorf("CHECK while kmesh-node is down: %v", err)
		}
	}
	m.up()
	if err := r.check(q); err != nil {
		t.Error(err)
	}
	r.del(p)
	r.del(q)
}

// DEL and GC take back what ADD made, of this network, and nothing that enroll did.
func TestCNIGarbageIsCollected(t *testing.T) {
	m := newMesh(t)
	r := newRuntime(m.node, m.net)
	kept, gone, byHand := r.add("10.3.0.1"), r.add("10.3.0.2"), m.enrolled("10.3.0.3")
	other := *r
	other.list = renamed(r, "other")
	elsewhere := other.add("10.3.0.4")
	valid := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{{ContainerID: kept.name, IfName: "eth0"}}}
	// A runtime that lost what it knew asks with what is left: the cache is no help then.
	r.cni = libcni.NewCNIConfigWithCacheDir([]string{r.bin}, t.TempDir(), nil)
	if err := r.cni.GCNetworkList(context.Background(), r.list, valid); err != nil {
		t.Fatal(err)
	}
	l := m.cookies()
	for p, want := range map[*pod]bool{kept: true, gone: false, byHand: true, elsewhere: true} {
		if l[p.cookie()] != want {
			t.Errorf("%s enrolled: %v, want %v", p.name, !want, want)
		}
	}
	if len(m.nicLinks(gone.cookie())) > 0 {
		t.Error("what was collected is judged")
	}
	if err := r.cni.GCNetworkList(context.Background(), r.list, nil); err != nil || !m.cookies()[kept.cookie()] {
		t.Errorf("GC that does not say what is valid: %v, enrolled %v", err, m.cookies())
	}
	if err := r.cni.GCNetworkList(context.Background(), r.list, &libcni.GCArgs{}); err != nil || m.cookies()[kept.cookie()] {
		t.Errorf("GC of a node without pods: %v, enrolled %v", err, m.cookies())
	}
}

// A record of another boot is of no namespace: its cookie is another pod's by now.
func TestCNIRecordOfAnotherBoot(t *testing.T) {
	m := newMesh(t)
	r := newRuntime(m.node, m.net)
	p := r.add("10.3.0.1")
	text, err := os.ReadFile(r.records()[0])
	if err != nil {
		t.Fatal(err)
	}
	boot := regexp.MustCompile(`"boot":"[^"]*"`)
	stale := func(id string) *pod {
		t.Helper()
		text := strings.Replace(boot.ReplaceAllString(string(text), `"boot":"another"`), `"`+p.name+`"`, `"`+id+`"`, 1)
		if err := os.WriteFile(r.runFile(".pods/"+id+"@eth0.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return &pod{name: id, path: p.path}
	}
	byHand := m.enrolled("10.3.0.2") // no record keeps this one
	number := regexp.MustCompile(`"cookie":[0-9]*`)
	own := text
	text = number.ReplaceAll(text, fmt.Appendf(nil, `"cookie":%d`, byHand.cookie()))
	r.del(stale("old"))
	if !m.cookies()[byHand.cookie()] || len(r.records()) != 1 {
		t.Errorf("DEL of a pod of another boot: enrolled %v, records %v", m.cookies(), r.records())
	}
	text = own
	stale("older")
	r.del(p)
	if m.cookies()[p.cookie()] {
		t.Error("DEL releases nothing beside a record of another boot")
	}
}

// An ADD that fails takes back what it did, and what one before did.
func TestCNIAddThatFailsLeavesNothing(t *testing.T) {
	m := newMesh(t)
	m.backends()
	m.apply(wds(serviceA(), a1(), wpod("p", "10.3.0.1")))
	r := newRuntime(m.node, m.net, "--cni-failure-policy", "closed", "--cni-timeout", "1s")
	p := r.add("10.3.0.1")
	run(t, "", "ip", "-n", p.name, "link", "del", "eth0") // a runtime tries again from the start
	free := takeLocks(t, r.runFile(".store.lock"))
	_, err := r.tryAdd(p)
	wantCode(t, err, types.ErrTryAgainLater, "lock")
	free()
	if len(m.cookies()) > 0 || len(r.records()) > 0 {
		t.Errorf("enrolled %v, records %v", m.cookies(), r.records())
	}
	r.del(p)
}

// A path that blocks who opens it, in place of a namespace, is waited for by nobody.
func TestCNINamespaceThatIsNone(t *testing.T) {
	m := newMesh(t)
	r := newRuntime(m.node, m.net)
	p := r.add("10.3.0.1")
	cookie := p.cookie()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	none := &pod{name: p.name, path: path}
	_, err := r.tryAdd(&pod{name: "other", path: path})
	if err == nil {
		t.Error("ADD of a FIFO succeeds")
	}
	r.del(none)
	if m.cookies()[cookie] {
		t.Error("DEL releases nothing")
	}
	refused(t, exitUsage, m.run("enroll", "--netns", path), "not a network namespace")
}

// Called by hand the plugin says what it is, and waits for nothing.
func TestCNIPluginByHand(t *testing.T) {
	m := newMesh(t)
	r := newRuntime(m.node, m.net)
	in, open, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer open.Close()
	cmd := exec.Command(filepath.Join(r.bin, "kmesh-cni"))
	cmd.Stdin = in
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "protocol versions supported") {
		t.Errorf("%v: %s", err, out)
	}
}

// CHECK tells of what was taken away.
func TestCNICheckTellsWhatIsNotAsItWas(t *testing.T) {
	m := newMesh(t)
	r := newRuntime(m.node, m.net)
	p := r.add(serverIP)
	links := m.nicLinks(p.cookie())
	if len(links) != 1 {
		t.Fatalf("links %v", links)
	}
	detach(t, filepath.Join(m.bpf, links[0]))
	wantCode(t, r.check(p), 101, "eth0", "xdpauth")
	m.enroll(p)
	if err := r.check(p); err != nil {
		t.Error(err)
	}
	run(t, "", "ip", "-n", p.name, "addr", "del", serverIP+"/32", "dev", "eth0")
	wantCode(t, r.check(p), 101, serverIP)
	for _, path := range r.records() {
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, r.check(p), 101, "read record")
	if res := m.want(exitDone, "up"); !strings.Contains(res.err, "read record") || !m.cookies()[p.cookie()] {
		t.Errorf("%v\nan up with a damaged record", res)
	}
	r.del(p)
	if len(r.records()) > 0 || len(m.cookies()) > 0 {
		t.Errorf("DEL of a damaged record leaves records %v, enrolled %v", r.records(), m.cookies())
	}
}

// What came with a namespace goes with it, whoever tells.
func TestCNINamespaceThatIsGone(t *testing.T) {
	for _, mode := range []string{"ads", "workload"} {
		t.Run(mode, func(t *testing.T) {
			n := newNodeOf(t, mode)
			s := n.serve(everySoon)
			r := newRuntime(n, newFabric(t))
			t.Run("pod", func(t *testing.T) {
				in := *r
				in.node = n.in(t)
				in.add(serverIP)
			})
			s.logged("repaired: ", "is gone")
			if err := eventually(func() error {
				if l := r.records(); len(l) > 0 {
					return os.ErrExist
				}
				return nil
			}); err != nil {
				t.Errorf("records %v", r.records())
			}
			t.Run("deleted", func(t *testing.T) {
				in := *r
				in.node = n.in(t)
				p := newPod(t)
				p.dev = "eth0"
				if _, err := in.tryAdd(p); err != nil {
					t.Fatal(err)
				}
				run(t, "", "ip", "netns", "del", p.name)
				in.del(p)
				run(t, "", "ip", "netns", "add", p.name)
			})
			s.stop(exitDone)
		})
	}
}

// A run that is stopped, also with a lock in its hand, does not hold a runtime up.
func TestCNIDoesNotWaitForARunThatIsStopped(t *testing.T) {
	m := newMesh(t)
	s := m.serve()
	r := newRuntime(m.node, m.net, "--cni-timeout", "2s")
	s.signal(unix.SIGSTOP)
	p := r.add("10.3.0.1")
	if !m.cookies()[p.cookie()] {
		t.Error("not enrolled beside a run that is stopped")
	}
	free := takeLocks(t, r.runFile(".pods.lock"))
	q := r.add("10.3.0.2") // policy open: unmanaged
	r.del(p)               // released later
	r.install("--cni-failure-policy", "closed", "--cni-timeout", "1s")
	wantCode(t, r.status(), types.ErrPluginNotAvailable, "lock")
	z, err := r.tryAdd(r.sandbox("10.3.0.4"))
	wantCode(t, err, types.ErrTryAgainLater, "lock")
	free()
	if l := m.cookies(); !l[p.cookie()] || l[q.cookie()] || l[z.cookie()] {
		t.Errorf("enrolled while the lock was held: %v", l)
	}
	s.signal(unix.SIGCONT)
	s.stop(exitDone)
	m.up()
	if l := m.cookies(); l[p.cookie()] || !l[q.cookie()] || l[z.cookie()] {
		t.Errorf("enrolled after up: %v, want %d alone", l, q.cookie())
	}
	if l := r.records(); len(l) != 1 {
		t.Errorf("records %v", l)
	}
	r.del(q)
}

// Pods come in crowds.
func TestCNIManyPodsAtOnce(t *testing.T) {
	m := newMesh(t)
	m.backends()
	m.apply(wds(serviceA(), a1()))
	r := newRuntime(m.node, m.net, "--cni-timeout", "60s")
	const n = 50
	list := make([]*pod, n)
	for i := range list {
		list[i] = r.sandbox(fmt.Sprintf("10.4.0.%d", i+1))
	}
	each := func(do func(*pod) error) {
		t.Helper()
		errs := make(chan error)
		for _, p := range list {
			go func() { errs <- do(p) }()
		}
		for range list {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
	each(func(p *pod) error { _, err := r.tryAdd(p); return err })
	if l := m.cookies(); len(l) != n || len(r.records()) != n {
		t.Errorf("%d of %d pods are enrolled, %d recorded", len(l), n, len(r.records()))
	}
	for _, p := range []*pod{list[0], list[n-1]} {
		wantReach(t, p.client(0), vipA, at(ip1, 8080))
	}
	each(func(p *pod) error { return r.cni.DelNetworkList(context.Background(), r.list, r.of(p)) })
	if l := m.cookies(); len(l) != 0 || len(r.records()) != 0 {
		t.Errorf("%d pods are enrolled, %d recorded", len(l), len(r.records()))
	}
}
