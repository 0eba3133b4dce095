// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
)

// What was taken, waited and is refused then is not forgotten: no response tells of it, and
// no delta stream brings it again.
func TestWhatIsRefusedLaterIsTriedAgain(t *testing.T) {
	begin := func() *bench {
		b := newBench(t)
		b.delta = true
		b.sink.OnLost(func() { t.Error("all is asked for again") })
		b.send(cds, &clusterv3.Cluster{Name: "a"})
		b.send(lds, http(t, "l", 80, "r"))
		b.store.refuse = "10.0.0.1:80"
		b.want("refused", fmt.Sprint(b.send(rds, routing("r", "a"))), "[]")
		b.want("listeners", b.keys(config.Listener), "[]")
		if ok, missing := b.sink.Synced(); ok || missing != "Listener l (refused: 10.0.0.1:80)" {
			t.Errorf("synced %v, missing %q", ok, missing)
		}
		b.want("routes asked for", b.asked(rds), "[r]")
		return b
	}
	b := begin()
	tries := 0
	b.store.always = func() { tries++ }
	b.wait(fetchTime)
	b.send(cds, &clusterv3.Cluster{Name: "b"})
	if tries != 1 {
		t.Errorf("%d publications, want that of the Cluster alone", tries)
	}
	b.wait(retryTime - fetchTime)
	b.store.refuse = ""
	b.wait(retryTime - time.Second)
	b.want("listeners before the next try", b.keys(config.Listener), "[]")
	b.wait(time.Second)
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80]")
	if ok, missing := b.sink.Synced(); !ok || b.sink.timer != nil {
		t.Errorf("not synced: %s; timer %v", missing, b.sink.timer)
	}
	// Named again it is brought by that response, which it is refused by where it has to be.
	b = begin()
	b.want("refused", fmt.Sprint(b.send(lds, http(t, "l", 80, "r"))), "[l]")
	b = begin()
	b.store.refuse = ""
	b.want("refused", fmt.Sprint(b.send(lds, http(t, "l", 80, "r"))), "[]")
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80]")
	// Another version waits as any other does, and not as long as that one would have.
	b = begin()
	b.wait(fetchTime)
	b.send(lds, http(t, "l", 80, "s"))
	if wait := b.sink.due.Sub(b.now); wait != fetchTime {
		t.Errorf("looked at after %v, want %v", wait, fetchTime)
	}
	b.store.refuse = ""
	b.wait(fetchTime)
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80]")
}

// However many are refused when their time is over, the rest does not wait for them.
func TestManyThatAreRefusedInTime(t *testing.T) {
	b := newBench(t)
	b.store.refuseAll = "c"
	for i := range 2*mostBlamed + 1 {
		name := fmt.Sprintf("c%02d", i)
		b.sendOf(true, cds, nil, eds(name, name))
	}
	b.sendOf(true, cds, nil, eds("z", "z"))
	for range 3 {
		b.wait(fetchTime)
	}
	b.want("clusters", b.clusters(), "z- ")
	b.store.refuseAll = ""
	b.wait(retryTime)
	b.want("clusters", fmt.Sprint(len(b.store.all[config.Cluster])), fmt.Sprint(2*mostBlamed+2))
}

// Endpoints that cannot go are tried again, and keep nothing else.
func TestEndpointsThatCannotGo(t *testing.T) {
	b := newBench(t)
	hook := logtest.NewLocal(b.sink.log)
	b.send(cds, eds("a", "a"), eds("b", "b"))
	b.send(edt, endpoints("a", 1))
	b.send(lds)
	b.store.refuse = "a"
	b.sendOf(true, edt, []string{"a"})
	for range 3 {
		b.wait(fetchTime)
	}
	b.want("clusters", b.clusters(), "a:1 b- ")
	if ok, missing := b.sink.Synced(); ok || missing != "ClusterLoadAssignment a (refused: a)" {
		t.Errorf("synced %v, missing %q", ok, missing)
	}
	b.wait(retryTime)
	told := 0
	for _, e := range hook.AllEntries() {
		if e.Level <= logrus.ErrorLevel {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d errors in the log, want one", told)
	}
	b.store.refuse = ""
	b.wait(retryTime)
	b.want("clusters", b.clusters(), "a b- ")
}

// Endpoints that went while their Cluster was refused keep no timer busy.
func TestEndpointsThatWentWhileTheirClusterWasRefused(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "s"))
	b.store.refuse = "a"
	b.wait(fetchTime)
	b.sendOf(true, edt, []string{"s"})
	b.wait(fetchTime)
	if first := b.sink.world.oldest(); !first.After(b.now.Add(-fetchTime)) {
		t.Errorf("something waits since %v, it is %v", first, b.now)
	}
	b.store.refuse = ""
	b.wait(retryTime)
	b.want("clusters", b.clusters(), "a ")
}

// Endpoints that came while their Cluster was refused, and that went with another one, come
// again.
func TestEndpointsThatWentWithAnother(t *testing.T) {
	b := newBench(t)
	b.delta = true
	told := 0
	b.sink.OnLost(func() { told++ })
	b.send(cds, eds("a", "s"))
	b.store.refuse = "a"
	b.wait(fetchTime)
	b.send(cds, eds("b", "s"))
	b.send(edt, endpoints("s", 1))
	b.want("clusters", b.clusters(), "b:1 ")
	b.sendOf(true, cds, []string{"b"})
	b.wait(retryTime)
	b.want("clusters", b.clusters(), "")
	b.store.refuse = ""
	b.wait(retryTime)
	if b.want("clusters", b.clusters(), "a- "); told != 1 {
		t.Errorf("told %d times, want once", told)
	}
	b.send(edt, endpoints("s", 1))
	b.want("clusters", b.clusters(), "a:1 ")
}

// Endpoints that a Cluster made by hand cannot take are tried again as all else is.
func TestEndpointsThatAreRefused(t *testing.T) {
	b := newBench(t)
	b.send(cds, eds("a", "s"))
	b.store.refuse = "a"
	b.wait(fetchTime)
	b.send(edt, endpoints("s", 1))
	hand := &cluster.Cluster{Name: "hand", DiscoveryType: cluster.Cluster_EDS, EdsServiceName: "s"}
	if _, err := b.store.PublishAt([]config.Op{{Message: hand}}, b.store.version); err != nil {
		t.Fatal(err)
	}
	b.store.refuse = "hand"
	tries := 0
	b.store.always = func() { tries++ }
	for range 3 {
		b.wait(fetchTime)
	}
	if b.want("clusters", b.clusters(), "hand- "); tries != 1 {
		t.Errorf("%d publications, want one", tries)
	}
	b.wait(fetchTime)
	b.want("clusters", b.clusters(), "a- hand- ")
	if wait := b.sink.due.Sub(b.now); wait != fetchTime {
		t.Errorf("looked at after %v, want %v", wait, fetchTime)
	}
	b.store.refuse = ""
	b.wait(fetchTime)
	b.want("clusters", b.clusters(), "a:1 hand:1 ")
}

// A NACK names each resource once, also where it ends in all being refused.
func TestEachIsRefusedOnce(t *testing.T) {
	b := newBench(t)
	var all, ends []proto.Message
	for i := range mostBlamed + 1 {
		name := fmt.Sprintf("c%d", i)
		all, ends = append(all, eds(name, name)), append(ends, endpoints(name, 1))
	}
	b.send(cds, all...)
	b.store.refuseAll = "c"
	b.want("refused", strings.Join(b.send(edt, ends...), " "), "c0 c1 c2 c3 c4 c5 c6 c7 c8")
}

// What goes by a response that cannot come into force goes later: no delta stream names it
// again.
func TestARemovalIsNotForgotten(t *testing.T) {
	b := newBench(t)
	b.send(cds, &clusterv3.Cluster{Name: "a"})
	b.send(lds, tcp(t, "l", 80, "a"))
	b.store.always = func() { b.store.fail = store.ErrNoSpace }
	b.want("refused", fmt.Sprint(b.sendOf(true, lds, []string{"l"})), "[]")
	b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80]")
	b.store.always = nil
	b.wait(fetchTime)
	b.want("listeners", b.keys(config.Listener), "[]")
}

// Whatever is refused at whatever time, in the end all is in force that no NACK was about.
func TestRefusalsInAnyOrder(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			m.late = true
			for range 6 {
				m.change()
				for range m.rand.IntN(8) {
					i := m.rand.IntN(6)
					m.store.refuse = []string{"", fmt.Sprintf("c%d", i), fmt.Sprintf("r%d", i/2), fmt.Sprintf("10.0.0.1:%d", 80+i)}[m.rand.IntN(4)]
					m.say(m.sink.Types()[m.rand.IntN(4)])
					if m.rand.IntN(4) == 0 {
						m.wait(time.Duration(m.rand.Int64N(int64(retryTime))))
						m.wantNothingOverdue()
						m.listen()
					}
				}
			}
			m.store.refuse = ""
			m.wait(retryTime)
			m.listen()
			if _, missing := m.sink.Synced(); strings.Contains(missing, "refused") {
				t.Errorf("missing is %s", missing)
			}
			m.finish()
			m.wantAll()
		})
	}
}
