// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
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
	if ok, missing := b.sink.Synced(); !ok {
		t.Errorf("not synced: %s", missing)
	}
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
	if ok, missing := b.sink.Synced(); !ok {
		t.Errorf("not synced: %s", missing)
	}
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

// Another writer's batch in between is seen; maps that lost what was published have all
// of it asked for anew.
func TestOtherWriters(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "a"))
	b.send(edt, endpoints("a", 1))
	foreign := func(ops ...config.Op) func() {
		return func() {
			if _, err := b.store.PublishAt(ops, b.store.version); err != nil {
				t.Error(err)
			}
		}
	}
	b.store.before = foreign(config.Op{Message: &cluster.Cluster{Name: "hand"}})
	b.send(edt, endpoints("a", 2))
	b.want("clusters", b.clusters(), "a:2 hand- ")
	b.send(cds, eds("a", "a"))
	b.want("clusters", b.clusters(), "a:2 ")
	foreign(config.Op{Delete: true, Message: &cluster.Cluster{Name: "a"}})()
	if _, err := b.sink.Update(t.Context(), b.document(false, edt, nil, endpoints("a", 3))); !errors.Is(err, xdsclient.ErrResync) {
		t.Errorf("a cluster was deleted: %v, want ErrResync", err)
	}
	b.send(cds, eds("a", "a"))
	b.send(edt, endpoints("a", 3))
	b.want("clusters", b.clusters(), "a:3 ")
	b.store.all, b.store.version = newFakeStore().all, store.Version{Maps: 2}
	if _, err := b.sink.Update(t.Context(), b.document(false, edt, nil, endpoints("a", 3))); !errors.Is(err, xdsclient.ErrResync) {
		t.Errorf("maps were made anew: %v, want ErrResync", err)
	}
	b.send(cds, eds("a", "a"))
	b.send(edt, endpoints("a", 3))
	b.want("clusters", b.clusters(), "a:3 ")
}

// A first response that is refused as a whole is no sync.
func TestRefusedIsNotSynced(t *testing.T) {
	b := newBench(t)
	b.store.fail = store.ErrNoSpace
	b.send(cds, &clusterv3.Cluster{Name: "a"})
	if ok, missing := b.sink.Synced(); ok || missing != "Cluster, Listener" {
		t.Errorf("synced %v, missing %q", ok, missing)
	}
	b.send(lds)
	if ok, missing := b.sink.Synced(); ok || missing != "Cluster" {
		t.Errorf("synced %v, missing %q", ok, missing)
	}
	b.send(cds, &clusterv3.Cluster{Name: "a"})
	if ok, missing := b.sink.Synced(); !ok {
		t.Errorf("missing %q", missing)
	}
}

// A Listener comes back when the one goes that took its address.
func TestAnAddressThatIsFreeAgain(t *testing.T) {
	for _, delta := range []bool{false, true} {
		b := newBench(t)
		b.delta = delta
		told := 0
		b.sink.OnLost(func() { told++ })
		b.send(cds, eds("a", "a"), eds("b", "b"))
		b.send(edt, endpoints("a", 1), endpoints("b", 2))
		first := tcp(t, "l", 80, "a")
		b.send(lds, first)
		b.send(lds, first, tcp(t, "m", 80, "b"))
		b.wait(fetchTime)
		b.want("owner", b.sink.world.owners["10.0.0.1:80"].name, "m")
		if told != 0 {
			t.Error("told of a loss")
		}
		if delta {
			b.sendOf(true, lds, []string{"m"})
		} else {
			b.send(lds, first)
		}
		if told != 1 {
			t.Errorf("told %d times, want once", told)
		}
		b.send(lds, first)
		b.want("owner", b.sink.world.owners["10.0.0.1:80"].name, "l")
		b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80]")
	}
}

// Another writer that never ceases does not keep a response for ever, nor the end of it.
func TestAnotherWriterThatNeverCeases(t *testing.T) {
	b := newBench(t)
	ctx, stop := context.WithCancel(t.Context())
	n := 0
	b.store.always = func() {
		if n++; n == 3 {
			stop()
		}
		b.store.version.Generation++
	}
	d := func() *xds.Document { return b.document(false, cds, nil, &clusterv3.Cluster{Name: "a"}) }
	if _, err := b.sink.Update(ctx, d()); !errors.Is(err, store.ErrMoved) || n != 3 {
		t.Errorf("error %v after %d tries, want ErrMoved after 3", err, n)
	}
	if _, err := b.sink.Update(t.Context(), d()); !errors.Is(err, store.ErrMoved) || n != 3+1+mostMoved {
		t.Errorf("error %v after %d tries", err, n-3)
	}
	b.store.always = nil
	b.send(cds, &clusterv3.Cluster{Name: "a"})
	b.want("clusters", b.clusters(), "a- ")
}

// What was lost is told, whoever finds it: the stream would never speak of it again.
func TestALossIsToldWithoutAResponse(t *testing.T) {
	for name, look := range map[string]func(b *bench){
		"what waited is over time": func(b *bench) { b.wait(fetchTime) },
		"names are asked for":      func(b *bench) { b.sink.Names(edt) },
		"run looks":                func(b *bench) { b.sink.Look() },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			told := 0
			b.sink.OnLost(func() { told++ })
			b.send(cds, eds("a", "a"), eds("b", "b"))
			b.send(edt, endpoints("a", 1))
			look(b)
			if told != 0 {
				t.Error("nothing is lost, and it was told")
			}
			if _, err := b.store.PublishAt([]config.Op{{Delete: true, Message: &cluster.Cluster{Name: "a"}}}, b.store.version); err != nil {
				t.Fatal(err)
			}
			look(b)
			if told != 1 {
				t.Errorf("told %d times, want once", told)
			}
		})
	}
}

// What has no room is refused, by name where it can be told; the rest stays and goes on.
func TestAFullStore(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "a"))
	b.send(edt, endpoints("a", 1))
	b.store.fail = store.ErrNoSpace
	rejected, err := b.sink.Update(t.Context(), b.document(false, edt, nil, endpoints("a", 2)))
	if err != nil || len(rejected) != 1 || !errors.Is(rejected[0].Err, store.ErrNoSpace) || rejected[0].Name != "a" {
		t.Fatalf("rejected %v, %v", rejected, err)
	}
	b.want("clusters", b.clusters(), "a:1 ")
	b.send(edt, endpoints("a", 2))
	b.want("clusters", b.clusters(), "a:2 ")
	b.send(lds, tcp(t, "l", 80, "a"))
	b.store.fail = store.ErrNoSpace
	b.send(lds, tcp(t, "l", 81, "a"))
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80]")
	b.send(lds, tcp(t, "l", 81, "a"))
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:81]")
	// What goes in such a response goes.
	b.send(lds, tcp(t, "l", 81, "a"), tcp(t, "m", 82, "a"))
	b.store.fail = store.ErrNoSpace
	b.want("refused", fmt.Sprint(b.sendOf(true, lds, []string{"m"}, tcp(t, "n", 83, "a"))), "[n]")
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:81]")
	// One that is to blame is refused alone.
	b.store.refuse = "10.0.0.1:84"
	b.want("refused", fmt.Sprint(b.sendOf(true, lds, nil, tcp(t, "o", 84, "a"), tcp(t, "p", 85, "a"))), "[o]")
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:81 10.0.0.1:85]")
	b.store.refuse = "a"
	b.want("refused", fmt.Sprint(b.send(edt, endpoints("a", 7))), "[a]")
	b.want("clusters", b.clusters(), "a:2 ")
	b.store.refuse = ""
	b.send(lds)
	many := []proto.Message{eds("a", "a")}
	for i := range store.Limit(config.Cluster) {
		many = append(many, &clusterv3.Cluster{Name: fmt.Sprintf("c%05d", i)})
	}
	b.want("refused", strings.Join(b.send(cds, many...), " "), fmt.Sprintf("c%05d", store.Limit(config.Cluster)-1))
	b.want("clusters", fmt.Sprint(len(b.store.all[config.Cluster])), fmt.Sprint(store.Limit(config.Cluster)))
	b.store.fail = errors.New("the lock is held")
	if _, err := b.sink.Update(t.Context(), b.document(false, edt, nil, endpoints("a", 4))); err == nil {
		t.Error("a failure of the store is not told")
	}
	b.send(edt, endpoints("a", 4))
	b.want("clusters", b.clusters()[:4], "a:4 ")
}

// A store that cannot be opened ends the stream, whatever it says is the reason.
func TestAStoreThatDoesNotOpen(t *testing.T) {
	b := newBench(t)
	for _, broken := range []error{&store.InvalidError{Message: "no descriptors in the environment"}, store.ErrNoSpace} {
		open := b.sink.open
		b.sink.open = func(func(storage) error) error { return broken }
		if _, err := b.sink.Update(t.Context(), b.document(false, cds, nil, eds("a", "a"))); !errors.Is(err, broken) {
			t.Errorf("%v, want %v", err, broken)
		}
		b.sink.open = open
	}
	b.send(cds, eds("a", "a"))
	b.send(edt, endpoints("a", 1))
	b.want("clusters", b.clusters(), "a:1 ")
}

// How things are is told while a publication takes its time.
func TestSyncedDoesNotWaitForAPublication(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "a"))
	b.store.before = func() {
		if ok, missing := b.sink.Synced(); ok || missing != "Listener" {
			t.Errorf("in between: synced %v, missing %q", ok, missing)
		}
	}
	b.send(edt, endpoints("a", 1))
	if b.store.before != nil {
		t.Error("nothing was published")
	}
	b.send(lds)
	if ok, missing := b.sink.Synced(); !ok {
		t.Errorf("not synced: %s", missing)
	}
}
