// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/authz"
)

// An index means what it meant until nobody can be reading it any more.
func TestIndexes(t *testing.T) {
	table := newTable[string]()
	want := func(what string, got, want uint32) {
		t.Helper()
		if got != want {
			t.Errorf("%s has index %d, want %d", what, got, want)
		}
	}
	want("none", table.take(""), 0)
	want("a", table.take("a"), 1)
	want("b", table.take("b"), 2)
	want("a again", table.take("a"), 1)
	give := func(i uint32, last bool) {
		t.Helper()
		if table.give(i) != last {
			t.Errorf("who reads %d is waited for, or not: want %v", i, last)
		}
	}
	give(1, false)
	want("c, while a is used once", table.take("c"), 3)
	give(1, true)
	want("d, when a was just given up", table.take("d"), 4)
	if keys := fmt.Sprintf("%q", table.keys()); keys != `["" "a" "b" "c" "d"]` {
		t.Errorf("%s: peers of before still have a's", keys)
	}
	want("a, which comes back", table.take("a"), 1)
	give(1, true)
	table.release([]uint32{1})
	want("f, when the second a may still be read", table.take("f"), 5)
	give(5, true)
	table.release([]uint32{1, 5})
	if keys := fmt.Sprintf("%q", table.keys()); keys != `["" "" "b" "c" "d" ""]` {
		t.Errorf("%s: nobody has a", keys)
	}
	want("e", table.take("e"), 5)
	want("g", table.take("g"), 1)
	want("a, anew", table.take("a"), 6)
	// What peers have when a writer begins counts, known or not.
	table = newTable[string]()
	table.adopt("x", 3)
	table.adopt("", 1)
	table.adopt("y", 3)
	table.adopted()
	want("x", table.take("x"), 3)
	want("y", table.take("y"), 2)
	want("z", table.take("z"), 4)
}

// During a publication every peer, old or new, is judged as before or as after it: never
// by an index that means somebody else, or nothing.
func TestPeersAndImageAgreeAtEachStep(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	allow := policy(`name: "allow" namespace: "ns" scope: WORKLOAD_SELECTOR groups { rules { matches { principals { suffix: "sa/good" } } } }`)
	messages := func(turn int) []proto.Message {
		m := list(allow, pod("server", "10.0.0.1", fmt.Sprintf(`service_account: "s%d" authorization_policies: "ns/allow" authorization_policies: "ns/none%d"`, turn, turn)))
		for i := range 6 {
			sa := "bad"
			if i == 0 {
				sa = "good"
			}
			m = append(m, pod(fmt.Sprintf("p%d", i), fmt.Sprintf("10.0.1.%d", i+1), fmt.Sprintf(`namespace: "n%d" service_account: %q`, i+turn, sa)))
		}
		return m
	}
	apply(t, s, delta(messages(0)))
	looked := 0
	s.at = func(step string) {
		image := authz.ImageOf(s.maps.image(true))
		peers := map[string]peerC{}
		err := each(s.maps, "km_peer", func(key [16]byte, p *peerC) error {
			peers[unmapped(key[:]).String()] = *p
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		for i := range 6 {
			from := peers[fmt.Sprintf("10.0.1.%d", i+1)]
			d := image.Decide(uint32(from.identity), uint32(peers["10.0.0.1"].pset), authz.Packet{Source: addressOf(addresses("10.0.1.1")[0]),
				Destination: addressOf(addresses("10.0.0.1")[0]), Port: 80})
			looked++
			if d.Allowed != (i == 0) {
				t.Errorf("at %s: p%d allowed %v", step, i, d.Allowed)
			}
		}
	}
	for turn := range 8 {
		apply(t, s, delta(messages(turn)))
	}
	if looked == 0 {
		t.Error("no step was looked at")
	}
}
