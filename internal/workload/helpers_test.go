// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/proto/security"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

func text[M proto.Message](m M, s string) M {
	if err := prototext.Unmarshal([]byte(s), m); err != nil {
		panic(fmt.Sprintf("%s: %v", s, err))
	}
	return m
}

func addresses(list string) [][]byte {
	var all [][]byte
	for _, a := range strings.Fields(list) {
		all = append(all, netip.MustParseAddr(a).AsSlice())
	}
	return all
}

// pod is a workload with addresses; rest is the text of further fields.
func pod(uid, addrs, rest string) *wapi.Workload {
	w := text(new(wapi.Workload), rest)
	w.Uid, w.Addresses = uid, append(w.Addresses, addresses(addrs)...)
	if w.Namespace == "" {
		w.Namespace = "ns"
	}
	return w
}

// svc is a service of namespace ns.
func svc(hostname, addrs, rest string) *wapi.Service {
	s := text(new(wapi.Service), rest)
	s.Namespace, s.Hostname = "ns", hostname
	for _, a := range addresses(addrs) {
		s.Addresses = append(s.Addresses, &wapi.NetworkAddress{Address: a})
	}
	return s
}

func policy(s string) *security.Authorization { return text(new(security.Authorization), s) }

// in is the text that makes a workload one of a service.
func in(hostname string, ports ...uint32) string {
	var b strings.Builder
	fmt.Fprintf(&b, `services { key: "ns/%s" value {`, hostname)
	for i := 0; i+1 < len(ports); i += 2 {
		fmt.Fprintf(&b, " ports { service_port: %d target_port: %d }", ports[i], ports[i+1])
	}
	b.WriteString(" } } ")
	return b.String()
}

func address(m proto.Message) proto.Message {
	switch m := m.(type) {
	case *wapi.Workload:
		return &wapi.Address{Type: &wapi.Address_Workload{Workload: m}}
	case *wapi.Service:
		return &wapi.Address{Type: &wapi.Address_Service{Service: m}}
	}
	return m
}

// delta is a document for each kind of message, and for what goes.
func delta(messages []proto.Message, removed ...string) []xds.Document {
	a := xds.Document{Path: "delta", Kind: xds.KindAddress, Removed: removed}
	p := xds.Document{Path: "delta", Kind: xds.KindAuthorization, Removed: removed}
	for _, m := range messages {
		if _, ok := m.(*security.Authorization); ok {
			p.Resources = append(p.Resources, m)
		} else {
			a.Resources = append(a.Resources, address(m))
		}
	}
	return []xds.Document{a, p}
}

// fixed are addresses of a node that stay.
func fixed(list ...netip.Addr) func() ([]netip.Addr, error) {
	return func() ([]netip.Addr, error) { return list, nil }
}

func list(m ...proto.Message) []proto.Message { return m }

// noImage is a half of km_policy that was never written.
var noImage = make([]byte, 1<<24)

// without is a live without maps: what would be written is forgotten.
func without(n nodeSettings) *live {
	l := newLive()
	if n.waypointPort == 0 {
		n.waypointPort = defaultWaypointPort
	}
	l.model.node = n
	return l
}

func (l *live) apply(t testing.TB, docs []xds.Document) *Result {
	t.Helper()
	b := &batch{res: &Result{Counts: map[Kind]xds.Count{}}}
	if err := b.convert(docs, nil); err != nil {
		t.Fatal(err)
	}
	if len(b.res.Rejected) > 0 {
		t.Fatal(b.res.Rejected)
	}
	changes := b.changes(l)
	for _, c := range changes {
		l.change(c, changes)
	}
	b.tell(l, changes)
	p, err := l.plan(changes, noImage)
	if err != nil {
		t.Fatal(err)
	}
	l.published(p)
	return b.res
}

// published is what follows a publication.
func (l *live) published(p *plan) {
	l.generation++
	l.identities.fresh, l.policySets.fresh = false, false
	l.identities.release(p.retired.identities)
	l.policySets.release(p.retired.sets)
}

// frontendText is "10.0.0.1:8080 1/2, 10.0.0.2:8080 1/2", with " via " before a
// waypoint's; "-" for no endpoints, "none" for no frontend.
func (l *live) frontendText(address string, port uint16) string {
	f := l.frontends[frontendKey{netip.MustParseAddr(address), port}]
	if f == nil {
		return "none"
	}
	s := l.setText(f.direct)
	if f.via != nil {
		s += " via " + l.setText(f.via)
	}
	return s
}

func (l *live) setText(s *set) string {
	var parts []string
	for _, e := range l.endpointViews(s) {
		share := e.Share * float64(s.spec.n) * float64(s.spec.total)
		parts = append(parts, fmt.Sprintf("%s %d/%d", e.Address, int(share+0.5), uint64(s.spec.n)*uint64(s.spec.total)))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// dump is all that the data plane has, without the numbers that depend on the order in
// which it came.
func (l *live) dump() string {
	var lines []string
	for k, f := range l.frontends {
		lines = append(lines, fmt.Sprintf("frontend %s: %s via %s, of %s, flags %d", k, l.setText(f.direct), l.setText(f.via),
			l.nameOf(uint32(f.value.resource)), f.value.flags))
	}
	for a, p := range l.peers {
		lines = append(lines, fmt.Sprintf("peer %s: %q %q, of %s, flags %d", a, keyAt(l.identities, uint32(p.identity)).Principal(),
			keyAt(l.policySets, uint32(p.pset)), l.nameOf(uint32(p.workload)), p.flags))
	}
	for _, k := range Kinds() {
		for _, r := range l.model.res[k] {
			lines = append(lines, fmt.Sprintf("%s: %x", r, r.sum))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (l *live) nameOf(num uint32) string {
	if r := l.model.nums[num]; r != nil {
		return r.String()
	}
	return fmt.Sprint(num)
}

func keyAt[K comparable](t *table[K], i uint32) K {
	if int(i) >= len(t.slots) {
		var zero K
		return zero
	}
	return t.slots[i].key
}

// envelope is a DiscoveryResponse of one resource.
func envelope(url string, value []byte) []byte {
	a := protowire.AppendTag(nil, 1, protowire.BytesType)
	a = protowire.AppendString(a, url)
	a = protowire.AppendTag(a, 2, protowire.BytesType)
	a = protowire.AppendBytes(a, value)
	return protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), a)
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
