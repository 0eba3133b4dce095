// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/listener"
)

// model is a control plane whose configuration is whole at all times, and which tells of
// it in any order that the protocol allows.
type model struct {
	*bench
	rand *rand.Rand
	now  map[string]map[string]proto.Message // by type and name: what it has
	sent map[string]map[string]proto.Message // what the stream has been told
	// whole are the addresses whose connections had endpoints, when last looked.
	whole map[string]bool
	late  bool // what it owes may have been given up: nothing is checked before the end
	lost  bool // the sink wants all of it again
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{bench: newBench(t), rand: rand.New(rand.NewPCG(seed, 7)), whole: map[string]bool{}}
	m.now, m.sent = map[string]map[string]proto.Message{}, map[string]map[string]proto.Message{}
	for _, u := range m.sink.Types() {
		m.now[u], m.sent[u] = map[string]proto.Message{}, map[string]proto.Message{}
	}
	m.delta = seed%2 == 1
	return m
}

// change makes another configuration of a few names.
func (m *model) change() {
	now := map[string]map[string]proto.Message{cds: {}, edt: {}, lds: {}, rds: {}}
	var names []string
	for i := range 6 {
		if m.rand.IntN(3) == 0 {
			continue
		}
		name := fmt.Sprintf("c%d", i)
		names = append(names, name)
		service := fmt.Sprintf("s%d", m.rand.IntN(2)*3+i%3) // some share one
		now[cds][name] = eds(name, service)
		now[edt][service] = endpoints(service, uint32(1+m.rand.IntN(4)), uint32(5+m.rand.IntN(4)))
	}
	some := func() (l []string) {
		for range 1 + m.rand.IntN(2) {
			l = append(l, names[m.rand.IntN(len(names))])
		}
		slices.Sort(l)
		return slices.Compact(l)
	}
	for i := range 5 {
		if len(names) == 0 || m.rand.IntN(3) == 0 {
			continue
		}
		name, port := fmt.Sprintf("l%d", m.rand.IntN(5)), uint32(80+i)
		if m.rand.IntN(2) == 0 {
			now[lds][name] = tcp(m.t, name, port, some()...)
			continue
		}
		now[lds][name] = http(m.t, name, port, fmt.Sprintf("r%d", m.rand.IntN(3)))
	}
	for _, l := range now[lds] {
		for _, route := range m.named(l) {
			now[rds][route] = routing(route, some()...)
		}
	}
	m.now = now
}

// named are the RouteConfigurations that l names.
func (m *model) named(l proto.Message) []string {
	return m.document(false, lds, nil, l).Convert(0).References().Routes
}

// say sends one type as it is now, or a part of it where parts may be sent; false: there
// is nothing to say.
func (m *model) say(url string) bool {
	m.t.Helper()
	m.sink.OnLost(func() { m.lost = true })
	asked, byName := m.sink.Names(url)
	var removed []string
	var put []proto.Message
	told := m.sent[url]
	partial := byName || m.delta
	for _, name := range slices.Sorted(maps.Keys(told)) {
		if m.now[url][name] == nil {
			if delete(told, name); m.delta {
				removed = append(removed, name)
			}
		}
	}
	news := len(removed) > 0
	for _, name := range slices.Sorted(maps.Keys(m.now[url])) {
		if byName && !slices.Contains(asked, name) {
			continue
		}
		r := m.now[url][name]
		same := told[name] != nil && proto.Equal(told[name], r)
		if partial && (same && m.rand.IntN(4) > 0 || m.rand.IntN(5) == 0) {
			continue
		}
		news = news || !same
		told[name] = r
		put = append(put, r)
	}
	if !news && len(removed) == 0 && !(url == cds || url == lds) {
		return false
	}
	bad := m.sendOf(m.delta, url, removed, put...)
	if len(bad) > 0 && m.store.refuse == "" {
		m.t.Fatalf("%s: %v are refused", url, bad)
	}
	for _, name := range bad { // it is told again
		told[name] = &cluster.Cluster{Name: "of another version"}
	}
	if m.lost {
		m.lost, news = false, true
		m.forget()
	}
	m.listen()
	if m.late {
		return news
	}
	m.check(fmt.Sprintf("after %s -%v +%d", url[strings.LastIndexByte(url, '.')+1:], removed, len(put)))
	return news
}

// listen hears what is not asked for any more: it is told anew when it is asked for again.
func (m *model) listen() {
	for _, u := range []string{edt, rds} {
		asked, _ := m.sink.Names(u)
		maps.DeleteFunc(m.sent[u], func(name string, _ proto.Message) bool { return !slices.Contains(asked, name) })
	}
}

// resolves says whether connections to that listener have somewhere to go.
func (m *model) resolves(l proto.Message) (missing string) {
	refs := xds.ReferencesOf(l)
	for _, name := range refs.Routes {
		r := m.store.all[config.Route][name]
		if r == nil {
			return name
		}
		refs.Clusters = append(refs.Clusters, xds.ReferencesOf(r).Clusters...)
	}
	for _, name := range refs.Clusters {
		c, _ := m.store.all[config.Cluster][name].(*cluster.Cluster)
		if len(c.GetLoadAssignment().GetEndpoints()) == 0 {
			return name
		}
	}
	return ""
}

// check looks at what is in force: what led somewhere does so until the control plane
// takes it away.
func (m *model) check(when string) {
	m.t.Helper()
	whole := map[string]bool{}
	for key, l := range m.store.all[config.Listener] {
		missing := m.resolves(l)
		if whole[key] = missing == ""; missing == "" {
			continue
		}
		if m.whole[key] {
			m.t.Fatalf("%s: %s of %s leads to %s, which is not there", when, key, config.NameOf(l), missing)
		}
		c, _ := m.sent[cds][missing].(*clusterv3.Cluster)
		if c != nil && m.sent[edt][c.GetEdsClusterConfig().GetServiceName()] != nil {
			m.t.Fatalf("%s: %s leads to %s, which was told of with its endpoints, and is not there", when, key, missing)
		}
	}
	for key := range m.whole {
		l, _ := m.store.all[config.Listener][key].(*listener.Listener)
		if l == nil && m.stillTold(key) {
			m.t.Fatalf("%s: %s is gone, and the control plane has it still", when, key)
		}
	}
	m.whole = whole
	for name, c := range m.store.all[config.Cluster] {
		s := xds.ServiceName(c.(*cluster.Cluster))
		if m.sent[edt][s] != nil && m.sent[cds][name] != nil && c.(*cluster.Cluster).LoadAssignment == nil {
			m.t.Fatalf("%s: %s has lost its endpoints", when, name)
		}
	}
}

// stillTold says whether both what was told and what is now have that address.
func (m *model) stillTold(key string) bool {
	has := func(all map[string]proto.Message) bool {
		for _, l := range all {
			l, _ := l.(*listenerv3.Listener)
			if strings.HasSuffix(key, fmt.Sprintf(":%d", l.GetAddress().GetSocketAddress().GetPortValue())) {
				return true
			}
		}
		return false
	}
	return has(m.sent[lds]) && has(m.now[lds])
}

// finish tells the rest, until nothing new is asked for.
func (m *model) finish() {
	for range 50 {
		news := false
		for _, u := range m.sink.Types() {
			news = m.say(u) || news
		}
		if ok, _ := m.sink.Synced(); ok && !news && m.settled() {
			return
		}
	}
	_, missing := m.sink.Synced()
	m.t.Fatalf("not settled: %s", missing)
}

func (m *model) settled() bool {
	for _, u := range m.sink.Types() {
		asked, byName := m.sink.Names(u)
		for name, r := range m.now[u] {
			if (!byName || slices.Contains(asked, name)) && (m.sent[u][name] == nil || !proto.Equal(m.sent[u][name], r)) {
				return false
			}
		}
	}
	return true
}

// wantAll compares what is in force with what one translation of everything makes.
func (m *model) wantAll() {
	m.t.Helper()
	want := newFakeStore()
	var docs []xds.Document
	for _, u := range m.sink.Types() {
		var all []proto.Message
		for _, name := range slices.Sorted(maps.Keys(m.now[u])) {
			all = append(all, m.now[u][name])
		}
		d := m.document(false, u, nil)
		d.Resources = all
		docs = append(docs, *d)
	}
	r, err := xds.Translate(docs, want, xds.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := want.PublishAt(r.Ops, want.version); err != nil {
		m.t.Fatal(err)
	}
	for _, k := range config.Kinds() {
		a, b := m.store.all[k], want.all[k]
		if !maps.EqualFunc(a, b, func(x, y proto.Message) bool { return proto.Equal(x, y) }) {
			m.t.Fatalf("%s: in force are %v, want %v", k, a, b)
		}
	}
	if n := len(m.sink.world.waiting) + len(m.sink.world.fresh) + len(m.sink.world.awaited); n > 0 {
		m.t.Fatalf("%d wait for nothing", n)
	}
	m.wantCounts()
}

// wantCounts compares what is known of the store with what a process that starts learns.
func (m *model) wantCounts() {
	m.t.Helper()
	w := newWorld(func() time.Time { return m.bench.now })
	if _, err := w.load(m.store); err != nil {
		m.t.Fatal(err)
	}
	show := func(w *world) string {
		var l []string
		for _, k := range []xds.Kind{xds.KindCluster, xds.KindListener, xds.KindRoute} {
			for _, r := range w.of(k) {
				l = append(l, fmt.Sprintf("%s %s said=%v users=%d hopes=%d service=%s held=%+v", k, r.name, r.said, r.users, r.hopes, r.service, r.held))
			}
		}
		for _, s := range w.services {
			l = append(l, fmt.Sprintf("service %s wanted=%d takers=%v", s.name, s.wanted, slices.Sorted(slices.Values(s.takers))))
		}
		for key, r := range w.owners {
			l = append(l, key+" is of "+r.name)
		}
		slices.Sort(l)
		return strings.Join(l, "\n")
	}
	if is, want := show(m.sink.world), show(w); is != want {
		m.t.Fatalf("known is\n%s\nthe store has\n%s", is, want)
	}
}

// Whatever is told in whatever order, in parts, again, with cuts and restarts in between:
// what works goes on to work, and in the end all is as one translation would make it.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			for range 6 {
				m.change()
				for range m.rand.IntN(8) {
					m.say(m.sink.Types()[m.rand.IntN(4)])
				}
				switch m.rand.IntN(6) {
				case 0:
					m.restart()
					m.forget()
				case 1:
					m.forget() // the stream ended
				case 2:
					continue // the next change comes before this one is told
				}
				m.finish()
				m.wantAll()
			}
		})
	}
}

// forget begins another stream: delta says at its beginning what went away meanwhile.
func (m *model) forget() {
	for u := range m.sent {
		m.sent[u] = map[string]proto.Message{}
		if !m.delta {
			continue
		}
		held, err := m.sink.Held(u)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, name := range held {
			m.sent[u][name] = &cluster.Cluster{Name: "of an unknown version"}
		}
	}
}

// Whatever was told and was not, what waits ends when its time is over: a timer that finds
// nothing to do would run again at once, for ever.
func TestNothingWaitsPastItsTime(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			m.late = true
			for range 6 {
				m.change()
				for range m.rand.IntN(8) {
					m.say(m.sink.Types()[m.rand.IntN(4)])
				}
				m.wait(fetchTime)
				m.wantNothingOverdue()
				m.listen()
			}
			m.finish()
			m.wantAll()
		})
	}
}
