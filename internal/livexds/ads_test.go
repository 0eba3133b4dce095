// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kmesh-net/kmesh-node/internal/config"
)

// A cluster is not there before its endpoints, and what names it not before the cluster.
func TestEndpointsComeBeforeClustersAndTheseBeforeListeners(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "s"))
	b.want("clusters", b.clusters(), "")
	b.want("services asked for", b.asked(edt), "[s]")
	b.send(lds, tcp(t, "l", 80, "a"), http(t, "h", 81, "r"))
	b.want("listeners", b.keys(config.Listener), "[]")
	b.want("routes asked for", b.asked(rds), "[r]")
	if ok, missing := b.sink.Synced(); ok || !strings.Contains(missing, "ClusterLoadAssignment s") {
		t.Errorf("synced %v, missing %q", ok, missing)
	}
	before := b.store.version.Generation
	b.send(edt, endpoints("s", 1))
	b.want("clusters", b.clusters(), "a:1 ")
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80]")
	if n := b.store.version.Generation - before; n != 1 {
		t.Errorf("%d publications for one response", n)
	}
	b.send(rds, routing("r", "a"))
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80 10.0.0.1:81]")
	b.wantSynced()
}

// The old way stays until the new one is whole, and what was in use goes last.
func TestMakeBeforeBreak(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "a"))
	b.send(edt, endpoints("a", 1))
	b.send(lds, tcp(t, "l", 80, "a"))
	// The control plane replaces a by b, and says so in the worst order.
	b.send(lds, tcp(t, "l", 80, "b"))
	b.send(cds, eds("b", "b"))
	b.want("clusters", b.clusters(), "a:1 ")
	if l := b.store.all[config.Listener]["10.0.0.1:80"]; !strings.Contains(l.(interface{ String() string }).String(), `"a"`) {
		t.Errorf("the listener leads to b before b is there: %v", l)
	}
	before := b.store.version.Generation
	b.send(edt, endpoints("b", 2))
	b.want("clusters", b.clusters(), "b:2 ")
	if n := b.store.version.Generation - before; n != 1 {
		t.Errorf("%d publications for one response", n)
	}
	// Removed: the cluster waits for the listener.
	b.send(cds)
	b.want("clusters", b.clusters(), "b:2 ")
	b.send(lds)
	b.want("clusters", b.clusters(), "")
	b.want("listeners", b.keys(config.Listener), "[]")
}

// An address is handed from listener to listener without a gap.
func TestAnAddressStaysUntilItsHeirIsReady(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "a"), eds("b", "b"))
	b.send(edt, endpoints("a", 1))
	b.send(lds, tcp(t, "old", 80, "a"))
	b.send(lds, tcp(t, "new", 80, "b"))
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80]")
	b.send(edt, endpoints("b", 2))
	if name := config.NameOf(b.store.all[config.Listener]["10.0.0.1:80"]); name != "new" {
		t.Errorf("the address is of %q, want new", name)
	}
}

// What never comes is not waited for without end.
func TestWaitingEnds(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "a"), eds("b", "b"))
	b.send(lds, tcp(t, "l", 80, "a"), http(t, "h", 81, "r"))
	b.send(edt, endpoints("b", 2))
	b.wait(fetchTime - time.Second)
	b.want("clusters in time", b.clusters(), "b:2 ")
	b.wait(time.Second)
	b.want("clusters", b.clusters(), "a- b:2 ")
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80 10.0.0.1:81]")
	b.wantSynced()
	// What a listener names and the control plane has no more, too.
	b.send(cds, eds("b", "b"))
	b.want("clusters", b.clusters(), "a- b:2 ")
	b.wait(fetchTime)
	b.want("clusters", b.clusters(), "b:2 ")
	if b.sink.timer != nil {
		t.Error("a timer runs while nothing waits")
	}
}

// What did not change is not looked into, and no map is written.
func TestResentResourcesWriteNothing(t *testing.T) {
	b := newBench(t)
	all := []proto.Message{eds("a", "a"), eds("b", "b")}
	push := func() {
		b.send(cds, all...)
		b.send(edt, endpoints("a", 1), endpoints("b", 2))
		b.send(lds, tcp(t, "l", 80, "a", "b"))
	}
	push()
	if b.sink.timer != nil {
		t.Error("all has come, and a timer runs")
	}
	before, reads := b.store.version, b.store.reads
	b.store.before = func() { t.Error("a publication") }
	push()
	if b.store.version != before || b.store.reads != reads {
		t.Errorf("version %v, %d reads; want %v, %d", b.store.version, b.store.reads, before, reads)
	}
	b.store.before = nil
	// One of them did.
	changed := eds("b", "b")
	changed.AltStatName, changed.ConnectTimeout = "x", durationpb.New(3*time.Second)
	all[1] = changed
	b.send(cds, all...)
	b.want("clusters", b.clusters(), "a:1 b:2 ")
}

// A bad resource stays as it was, and keeps nothing else.
func TestABadResourceKeepsItsLastGoodVersion(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "a"))
	b.send(edt, endpoints("a", 1))
	b.send(lds, tcp(t, "l", 80, "a"))
	bad := tcp(t, "l", 70000, "a")
	for range 2 { // the same once more is no better
		rejected, err := b.sink.Update(t.Context(), b.document(false, lds, nil, bad, tcp(t, "m", 81, "a")))
		if err != nil || len(rejected) != 1 || rejected[0].Name != "l" ||
			!strings.Contains(rejected[0].Err.Error(), "address.socket_address.port_value") {
			t.Fatalf("rejected %v, %v", rejected, err)
		}
	}
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80 10.0.0.1:81]")
	b.want("twice in a response", strings.Join(b.send(cds, eds("a", "a"), eds("c", "c"), eds("c", "d")), " "), "c")
	b.want("one address twice", strings.Join(b.send(lds, tcp(t, "l", 80, "a"), tcp(t, "m", 82, "a"), tcp(t, "n", 82, "a")), " "), "n")
	d := b.document(false, cds, nil, eds("a", "a"), eds("z", "z"))
	d.Raw[1].Value = append(d.Raw[1].Value, 0xff)
	if rejected, err := b.sink.Update(t.Context(), d); err != nil || len(rejected) != 1 || rejected[0].Name != "z" {
		t.Errorf("undecodable: rejected %v, %v", rejected, err)
	}
	d = b.document(true, cds, nil, eds("y", "y"))
	d.Raw[0].Name = "x"
	if rejected, err := b.sink.Update(t.Context(), d); err != nil || len(rejected) != 1 || rejected[0].Name != "x" {
		t.Errorf("of another name: rejected %v, %v", rejected, err)
	}
	b.want("clusters", b.clusters(), "a:1 ")
}

// A name that goes and comes again gets its endpoints.
func TestANameThatReappears(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "a"))
	b.send(edt, endpoints("a", 1))
	b.send(lds, tcp(t, "l", 80, "a"))
	// While it is in use it never went.
	b.send(cds)
	b.want("services asked for", b.asked(edt), "[]")
	b.send(cds, eds("a", "a"))
	b.want("clusters", b.clusters(), "a:1 ")
	b.want("services asked for", b.asked(edt), "[a]")
	b.send(lds)
	b.send(cds)
	b.want("clusters", b.clusters(), "")
	b.send(cds, eds("a", "a"))
	b.want("clusters", b.clusters(), "")
	b.send(edt, endpoints("a", 1))
	b.want("clusters", b.clusters(), "a:1 ")
}

// A name that went without a response, and is wanted again before anybody heard of that, was
// never asked for anew.
func TestANameThatReappearsUnheard(t *testing.T) {
	for _, heard := range []bool{false, true} {
		b := newBench(t)
		b.delta = true
		told := 0
		b.sink.OnLost(func() { told++ })
		b.send(cds, &clusterv3.Cluster{Name: "a"})
		b.send(lds, http(t, "l", 80, "r"))
		b.send(rds, routing("r", "a"))
		b.send(lds, tcp(t, "l", 80, "never"))
		b.want("routes asked for", b.asked(rds), "[r]")
		b.wait(fetchTime)
		b.want("routes", b.keys(config.Route), "[]")
		if heard {
			b.want("routes asked for", b.asked(rds), "[]")
		}
		b.send(lds, http(t, "l", 80, "r"))
		if want := map[bool]int{false: 1}[heard]; told != want {
			t.Errorf("heard %v: told %d times, want %d", heard, told, want)
		}
	}
}

// Partial responses take nothing away, removals and updates may share one.
func TestDelta(t *testing.T) {
	b := newBench(t)
	b.delta = true
	b.send(cds, eds("a", "a"), eds("b", "b"))
	b.send(edt, endpoints("a", 1), endpoints("b", 2))
	b.send(lds, tcp(t, "l", 80, "a"))
	b.sendOf(true, cds, []string{"b", "never"}, eds("c", "a"))
	b.want("clusters", b.clusters(), "a:1 c:1 ")
	// Endpoints that go do so after those who use them.
	b.sendOf(true, edt, []string{"a"})
	b.want("clusters", b.clusters(), "a:1 c:1 ")
	b.wait(fetchTime)
	b.want("clusters", b.clusters(), "a c ")
	b.sendOf(true, lds, []string{"l"})
	b.want("listeners", b.keys(config.Listener), "[]")
}

// A process that starts finds in the maps what the one before was told, and forgets what
// the control plane has no more.
func TestARestartGoesOn(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "a"), eds("b", "b"))
	b.send(edt, endpoints("a", 1), endpoints("b", 2))
	b.send(lds, tcp(t, "l", 80, "a"), http(t, "h", 81, "r"))
	b.send(rds, routing("r", "b"))
	b.restart()
	for url, want := range map[string]string{cds: "a b", edt: "a b", lds: "h l", rds: "r"} {
		held, err := b.sink.Held(url)
		if err != nil || strings.Join(held, " ") != want {
			t.Errorf("held of %s: %v, %v; want %s", url, held, err, want)
		}
	}
	before := b.store.version
	b.send(cds, eds("a", "a"), eds("b", "b"))
	b.send(lds, tcp(t, "l", 80, "a"), http(t, "h", 81, "r"))
	if ok, missing := b.sink.Synced(); ok || !strings.Contains(missing, "ClusterLoadAssignment") {
		t.Errorf("synced %v before endpoints came, missing %q", ok, missing)
	}
	b.send(edt, endpoints("a", 1), endpoints("b", 2))
	b.send(rds, routing("r", "b"))
	if ok, missing := b.sink.Synced(); !ok || b.store.version != before {
		t.Errorf("synced %v (%s), version %v, want %v", ok, missing, b.store.version, before)
	}
	// Another control plane knows less.
	b.send(cds, eds("a", "a"))
	b.send(lds, tcp(t, "l", 80, "a"))
	b.want("clusters", b.clusters(), "a:1 ")
	b.want("routes", b.keys(config.Route), "[]")
}
