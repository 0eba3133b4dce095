// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/listener"
)

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
	b.wantSynced()
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

// An address that was deleted by hand is lost, one that was moved by hand was not.
func TestAnAddressDeletedByHand(t *testing.T) {
	at := func(ip string, port uint32) *listener.Listener {
		a, err := config.ParseAddress(fmt.Sprintf("%s:%d", ip, port))
		if err != nil {
			t.Fatal(err)
		}
		return &listener.Listener{Name: "l", Address: a}
	}
	for _, c := range []struct {
		ops  []config.Op
		told int
	}{
		{[]config.Op{{Delete: true, Message: at("10.0.0.2", 80)}}, 1},
		{[]config.Op{{Delete: true, Message: at("10.0.0.2", 80)}, {Message: at("10.0.0.2", 81)}}, 0},
	} {
		b := newBench(t)
		told := 0
		b.sink.OnLost(func() { told++ })
		b.send(cds, &clusterv3.Cluster{Name: "a"})
		l := tcp(t, "l", 80, "a")
		l.AdditionalAddresses = []*listenerv3.AdditionalAddress{{Address: address("10.0.0.2", 80)}}
		b.send(lds, l)
		b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80 10.0.0.2:80]")
		if _, err := b.store.PublishAt(c.ops, b.store.version); err != nil {
			t.Fatal(err)
		}
		b.sink.Look()
		b.sink.Look()
		if told != c.told {
			t.Errorf("%v: told %d times, want %d", c.ops, told, c.told)
		}
	}
}

// A store that cannot be read for a moment takes nothing away of what is known.
func TestAStoreThatIsNotRead(t *testing.T) {
	b := newBench(t)
	b.sink.OnLost(func() { t.Error("told of a loss") })
	b.send(cds, eds("a", "a"))
	b.send(edt, endpoints("a", 1))
	b.send(lds, http(t, "l", 80, "r"))
	if _, err := b.store.PublishAt([]config.Op{{Message: &cluster.Cluster{Name: "hand"}}}, b.store.version); err != nil {
		t.Fatal(err)
	}
	b.store.shut = store.ErrLocked
	b.sink.Look()
	b.want("services asked for", b.asked(edt), "[a]")
	b.want("routes asked for", b.asked(rds), "[r]")
	b.store.shut = nil
	b.sink.Look()
	b.send(rds, routing("r", "a"))
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80]")
	b.wantSynced()
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
	b.wantSynced()
}
