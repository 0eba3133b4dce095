// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"fmt"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
)

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

// Of several that wait for one address the last one comes back, whoever goes first.
func TestAnAddressOfThree(t *testing.T) {
	for _, order := range [][]string{{"m", "n"}, {"n", "m"}} {
		b := newBench(t)
		b.delta = true
		has := map[string]proto.Message{}
		said := func() (l []proto.Message) {
			for _, name := range []string{"l", "m", "n"} {
				if has[name] != nil {
					l = append(l, has[name])
				}
			}
			return l
		}
		told := 0
		b.sink.OnLost(func() { told++ })
		b.send(cds, &clusterv3.Cluster{Name: "a"})
		for _, name := range []string{"l", "m", "n"} {
			has[name] = tcp(t, name, 80, "a")
			b.send(lds, has[name])
			b.wait(fetchTime)
		}
		b.want("owner", b.sink.world.owners["10.0.0.1:80"].name, "n")
		held, err := b.sink.Held(lds)
		b.want("held", fmt.Sprint(held, err), "[l m n] <nil>")
		for _, name := range order {
			delete(has, name)
			before := told
			b.sendOf(true, lds, []string{name})
			if told == before {
				continue
			}
			if bad := b.send(lds, said()...); len(bad) > 0 { // all that it has
				t.Errorf("%v gone: refused %v", order, bad)
			}
		}
		b.want("listeners", b.keys(config.Listener), "[10.0.0.1:80]")
		if o := b.sink.world.owners["10.0.0.1:80"]; o == nil || o.name != "l" {
			t.Errorf("%v gone, the address is of %v, want l", order, o)
		}
		if n := len(b.sink.world.ousted); n > 0 {
			t.Errorf("%d addresses are remembered for nobody", n)
		}
	}
}

// Of two at one address that have waited for too long one comes after the other.
func TestTwoOverTimeAtOneAddress(t *testing.T) {
	b := newBench(t)
	b.delta = true
	told := 0
	b.sink.OnLost(func() { told++ })
	b.send(cds, eds("a", "a"))
	b.send(lds, tcp(t, "l", 80, "a"))
	b.send(lds, tcp(t, "m", 80, "a"))
	b.wait(fetchTime)
	b.want("owner", b.sink.world.owners["10.0.0.1:80"].name, "m")
	if ok, missing := b.sink.Synced(); !ok || told > 0 {
		t.Errorf("not synced: %s; told %d times", missing, told)
	}
	b.sendOf(true, lds, []string{"m"})
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
}

// One that moves while another one takes its address is not missed there.
func TestAnAddressThatWasHandedOver(t *testing.T) {
	for range 20 { // in any order of what came into force
		b := newBench(t)
		b.sink.OnLost(func() { t.Error("told of a loss") })
		b.send(cds, &clusterv3.Cluster{Name: "a"})
		b.send(lds, tcp(t, "l", 80, "a"))
		b.send(lds, tcp(t, "l", 81, "a"), tcp(t, "m", 80, "a"))
		b.send(lds, tcp(t, "l", 81, "a"))
		b.want("listeners", b.keys(config.Listener), "[10.0.0.1:81]")
	}
}
