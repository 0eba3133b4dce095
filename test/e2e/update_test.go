// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"slices"
	"testing"
)

// many is how many connections updates must not disturb.
const many = 100_000

// road is a pod that can take very many connections, its writer and its client.
func road(t *testing.T) (*node, *pusher, *client) {
	t.Helper()
	n := upNode(t)
	p := newPod(t)
	p.serveFast(service, service6, epA1, epA2, epB1, epB2, epC1, six1, six2)
	n.enroll(p)
	return n, n.pusher(), p.client(0)
}

// wantOnly asks for all of the connections at these addresses, and some at each.
func wantOnly(t testing.TB, got counts, addrs ...string) {
	t.Helper()
	for to, n := range got {
		if !slices.Contains(addrs, to) {
			t.Errorf("%d connections went to %s", n, to)
		}
	}
	for _, a := range addrs {
		if got[a] == 0 {
			t.Errorf("no connection went to %s: %v", a, got)
		}
	}
}

// busy asks for so many publications beside the connections that a fault in one
// of them would have been met.
func busy(t testing.TB, published int) {
	t.Helper()
	t.Logf("%d publications beside %d connections", published, many)
	if published < 1000 {
		t.Errorf("only %d publications beside %d connections", published, many)
	}
}

func TestNoConnectMissesWhileTheSameContentIsPushed(t *testing.T) {
	n, w, c := road(t)
	same := n.batch(ownCluster("a", epA1, epA2), ownListener(service, ownProxy("a")))
	var got counts
	busy(t, w.loopWhile(func() { got = c.spread(service, many) }, same))
	wantOnly(t, got, epA1, epA2)
}

func TestNoConnectMissesWhileAlternatingContentIsPushed(t *testing.T) {
	n, w, c := road(t)
	one := n.batch(ownCluster("a", epA1, epA2), ownListener(service, ownProxy("a")))
	other := n.batch(ownCluster("a", epB1, epB2), ownListener(service, ownProxy("a")))
	var got counts
	busy(t, w.loopWhile(func() { got = c.spread(service, many) }, one, other))
	wantOnly(t, got, epA1, epA2, epB1, epB2)
}

// Each batch moves the listener, the route and both clusters at once. Whoever
// sees parts of two batches ends in a cluster that leads to epC1.
func TestNoConnectSeesPartsOfTwoBatches(t *testing.T) {
	n, w, c := road(t)
	const trap = epC1
	one := n.batch(ownListener(service, ownProxy("x")), ownCluster("x", epA1), ownCluster("y", trap),
		ownListener(service6, ownRDS("r")), ownRoute("r", "x"))
	other := n.batch(ownListener(service, ownRDS("r")), ownCluster("x", trap), ownCluster("y", epB1),
		ownListener(service6, ownRDS("r")), ownRoute("r", "y"))
	var got counts
	busy(t, w.loopWhile(func() { got = c.spread(service, many) }, one, other))
	wantOnly(t, got, epA1, epB1)
}

func TestNoIPv6ConnectSeesPartsOfTwoBatches(t *testing.T) {
	n, w, c := road(t)
	const trap = service6
	one := n.batch(ownListener(service6, ownRDS("r")), ownRoute("r", "x"), ownCluster("x", six1), ownCluster("y", trap))
	other := n.batch(ownListener(service6, ownRDS("r")), ownRoute("r", "y"), ownCluster("x", trap), ownCluster("y", six2))
	var got counts
	busy(t, w.loopWhile(func() { got = c.spread(service6, many) }, one, other))
	wantOnly(t, got, six1, six2)
}

func TestDeleteUnderTrafficLeavesNoConnectWithoutDestination(t *testing.T) {
	n, w, c := road(t)
	all := n.batch(ownCluster("a", epA1), ownListener(service, ownProxy("a")))
	noCluster := n.batch(deletedCluster("a"))
	noListener := n.batch(deletedListener(service))
	var got counts
	busy(t, w.loopWhile(func() { got = c.spread(service, many) }, all, noCluster, all, noListener))
	wantOnly(t, got, epA1, service)
}

func TestStaleConfigurationIsNeverUsedAfterAnUpdate(t *testing.T) {
	n, w, c := road(t)
	base := n.batch(ownListener(service, ownProxy("a")))
	w.publish(base)
	steps := []struct{ file, want string }{
		{n.batch(ownCluster("a", epA1)), epA1},
		{n.batch(ownCluster("a", epB1)), epB1},
		{n.batch(deletedCluster("a")), service},
		{n.batch(ownCluster("a", epA2)), epA2},
		{n.batch(ownListener(service, ownProxy("b")), ownCluster("b", epB2)), epB2},
		{n.batch(deletedListener(service)), service},
		{base, epA2},
	}
	for i := range 3000 {
		s := steps[i%len(steps)]
		w.publish(s.file)
		if got := c.spread(service, 3); !maps.Equal(got, counts{s.want: 3}) {
			t.Fatalf("after update %d, connections went%v, want %s", i, got, s.want)
		}
	}
}

func TestTwoWritersAtOnceLoseNothing(t *testing.T) {
	n, w, c := road(t)
	other := n.pusher()
	var got counts
	one := n.batch(ownCluster("a", epA1), ownListener(service, ownProxy("a")))
	two := n.batch(ownCluster("a", epA2), ownListener(service, ownProxy("a")))
	three := n.batch(ownCluster("b", epB1), ownListener(service6, ownProxy("b")))
	four := n.batch(ownCluster("b", epB2))
	published := w.loopWhile(func() {
		also := other.loopWhile(func() { got = c.spread(service, many/4) }, three, four)
		if also == 0 {
			t.Error("the other writer published nothing")
		}
	}, one, two)
	if published == 0 {
		t.Error("the writer published nothing")
	}
	wantOnly(t, got, epA1, epA2)
	var list any
	n.query(&list, "get", "clusters")
}

func TestKilledWriterLeavesWholeConfiguration(t *testing.T) {
	n, w, c := road(t)
	one := n.batch(ownListener(service, ownProxy("x")), ownCluster("x", epA1), ownCluster("y", epC1))
	other := n.batch(ownListener(service, ownProxy("y")), ownCluster("x", epC1), ownCluster("y", epB1))
	for range 10 {
		w.publish(one)
		w.say("loop", one, other)
		got := c.spread(service, 2000)
		w.kill()
		for to, k := range c.spread(service, 2000) {
			got[to] += k
		}
		wantNone(t, got, epC1, service)
		w = n.pusher()
	}
	w.publish(one)
	wantSpread(t, c, service, counts{epA1: 10})
}

func wantNone(t testing.TB, got counts, addrs ...string) {
	t.Helper()
	for _, a := range addrs {
		if got[a] != 0 {
			t.Errorf("%d connections went to %s: %v", got[a], a, got)
		}
	}
}

func TestApplyUnderTraffic(t *testing.T) {
	n, _, c := road(t)
	one := n.write(cds(static("a", epA1), static("b", epC1)), lds(listener(service, toCluster("a"))))
	other := n.write(cds(static("a", epC1), static("b", epB1)), lds(listener(service, toCluster("b"))))
	n.want(exitDone, "apply", "-f", one)
	got := make(chan counts)
	go func() { got <- c.spread(service, many) }()
	applied := 0
	for {
		select {
		case all := <-got:
			t.Logf("%d times apply beside %d connections", applied, many)
			if applied < 2 {
				t.Errorf("only %d times apply beside %d connections", applied, many)
			}
			wantOnly(t, all, epA1, epB1)
			return
		default:
			n.want(exitDone, "apply", "-f", []string{other, one}[applied%2])
			applied++
		}
	}
}

// Programs and links change under traffic when the variant does.
func TestUpUnderTrafficMissesNoConnect(t *testing.T) {
	n, w, c := road(t)
	w.publish(n.batch(ownCluster("a", epA1, epA2), ownListener(service, ownProxy("a"))))
	got := make(chan counts)
	go func() { got <- c.spread(service, many/2) }()
	for changes := 0; ; changes++ {
		select {
		case all := <-got:
			t.Logf("%d times up beside %d connections", changes, many/2)
			if changes < 2 {
				t.Errorf("only %d times up beside %d connections", changes, many/2)
			}
			wantOnly(t, all, epA1, epA2)
			return
		default:
			n.up("--connect-ret", []string{"off", "sys_exit_connect", "auto"}[changes%3])
		}
	}
}

func TestUpdatesLeaveNoMemoryInUse(t *testing.T) {
	n, w, c := road(t)
	one := n.batch(ownCluster("a", epA1, epA2), ownListener(service, ownProxy("a")), ownRoute("r", "a"))
	other := n.batch(ownCluster("a", epB1), ownListener(service, ownRDS("r")), ownListener(service6, ownProxy("b")))
	gone := n.batch(deletedCluster("a"), deletedListener(service6))
	w.publish(gone)
	w.publish(one)
	w.publish(gone)
	w.publish(one)
	before := n.store()
	w.loopWhile(func() { c.spread(service, 10_000) }, one, other, gone)
	w.publish(gone)
	w.publish(one)
	// Slots.Total may grow: what is retired is free only when no connect can hold it.
	if after := n.store(); after.Slots.Used != before.Slots.Used ||
		after.Clusters != before.Clusters || after.Listeners != before.Listeners {
		t.Errorf("the store before and after many updates:\n%+v\n%+v", before, after)
	}
}
