// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// What is wrong is named by resource and field.
func TestValidate(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for _, tc := range []struct {
		m    proto.Message
		want string
	}{
		{pod("", "", ""), "workload without a name: uid: is empty"},
		{pod(long, "", ""), "uid: 1025 bytes are more than the limit of 1024"},
		{pod("a\xff", "", ""), "uid: is not UTF-8"},
		{pod("a", "", `addresses: "abc"`), "workload a: addresses[0]: 3 bytes, want 4 or 16"},
		{pod("a", "10.0.0.1 0.0.0.0", ""), "addresses[1]: 0.0.0.0 is no address to connect to"},
		{pod("a", "", in("s", 0, 1)), `services["ns/s"].ports[0].service_port: 0, want 1 to 65535`},
		{pod("a", "", in("s", 1, 65536)), `services["ns/s"].ports[0].target_port: 65536`},
		{pod("a", "", `services { key: "s" value {} }`), `services["s"]: not NAMESPACE/HOSTNAME`},
		{pod("a", "", `authorization_policies: ""`), "authorization_policies[0]: is empty"},
		{pod("a", "", "waypoint {}"), "waypoint: names neither a hostname nor an address"},
		{pod("a", "", "waypoint { hostname {} }"), "waypoint.hostname.hostname: is empty"},
		{pod("a", "", `waypoint { address { address: "1" } }`), "waypoint.address.address: 1 bytes"},
		{&wapi.Workload{Uid: "a", Status: 9}, "status: 9 is not known"},
		{svc("", "", ""), "hostname: is empty"},
		{svc("s", "", `addresses { address: "12345" }`), "service ns/s: addresses[0].address: 5 bytes, want 4 or 16"},
		{svc("s", "", "ports {}"), "ports[0].service_port: 0"},
		{svc("s", "", "ports { service_port: 70000 }"), "ports[0].service_port: 70000"},
		{svc("s", "", "load_balancing { routing_preference: UNSPECIFIED_SCOPE }"), "load_balancing.routing_preference[0]: is unspecified"},
		{&wapi.Service{Hostname: "s", LoadBalancing: &wapi.LoadBalancing{Mode: 7}}, "load_balancing.mode: 7 is not known"},
		{&wapi.Service{Hostname: "s", Namespace: "a/b"}, "namespace: has a slash in it"},
		{policy(""), "name: empty"},
		{policy(`name: "p" namespace: "ns" groups { rules { matches { source_ips { address: "123" } } } }`),
			"policy ns/p: groups[0].rules[0].matches[0].source_ips[0].address: 3 bytes, want 4 or 16"},
	} {
		_, err := (&Store{}).Apply(delta(list(tc.m)), false)
		if exit.Code(err) != exit.Rejected || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v\nwant %s", err, tc.want)
		}
	}
	_, err := (&Store{}).Apply([]xds.Document{{Path: "d", Kind: xds.KindAddress, Resources: list(&wapi.Address{})}}, false)
	if err == nil || !strings.Contains(err.Error(), "holds neither a workload nor a service") {
		t.Error(err)
	}
	_, err = (&Store{}).Apply(delta(list(pod("a", "", ""), pod("a", "", ""))), false)
	if err == nil || !strings.Contains(err.Error(), "workload a: stands in one document twice") {
		t.Error(err)
	}
	_, err = (&Store{}).Apply([]xds.Document{{Path: "d", Kind: xds.KindCluster}}, true)
	if exit.Code(err) != exit.Rejected || !strings.Contains(err.Error(), "type Cluster needs --mode ads") {
		t.Error(err)
	}
}

// What is invalid stays what it was, also where a complete response names it.
func TestSkipInvalid(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	apply(t, s, delta(list(svc("s", vip, http), pod("a", "10.0.0.1", in("s")))))
	docs := []xds.Document{{Path: "d", Kind: xds.KindAddress, Complete: true,
		Resources: list(address(svc("s", vip, "ports {}")), address(pod("a", "10.0.0.2", in("s"))), address(pod("", "", "")))}}
	r, err := s.Apply(docs, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rejected) != 2 || r.Counts[Service].Deleted != 0 || s.live.frontendText(vip, 80) != "10.0.0.2:8080 1/1" {
		t.Errorf("%+v, %s", r, s.live.frontendText(vip, 80))
	}
}

// What is valid and cannot be honoured is named.
func TestNotesAndWarnings(t *testing.T) {
	l := without(nodeSettings{name: "n1"})
	r := l.apply(t, delta(list(
		svc("headless", "", http),
		svc("s", vip, http), svc("t", vip, http),
		pod("far", "10.0.0.3", `network: "far"`),
		pod("here", "10.0.0.1", `node: "n1"`),
		pod("named", "", `hostname: "db.example.com"`),
		pod("tunnel", "10.0.0.4", "application_tunnel { protocol: PROXY port: 1 } native_tunnel: true"),
		pod("twin1", "10.0.0.5", ""), pod("twin2", "10.0.0.5", ""),
		pod("node1", "10.0.0.6", "network_mode: HOST_NETWORK"), pod("node2", "10.0.0.6", "network_mode: HOST_NETWORK"))))
	wantLines(t, "notes", r.Notes,
		"service ns/headless: has no address of its own: connections to its workloads are theirs alone",
		`workload far: is of network "far": it is no endpoint on this node`,
		`workload named: has the name "db.example.com" and no address: kmesh-node resolves no names: it is no endpoint`,
		"workload tunnel: application tunnel: connections go to it without",
		"workload tunnel: speaks HBONE itself: connections go to it in plain text")
	wantLines(t, "warnings", r.Warnings,
		"service ns/t: address 10.96.0.1:80 is that of service ns/s as well, which has it",
		"workload twin2: address 10.0.0.5 is that of workload twin1 as well: it gives no identity")

	// They stay to be read for as long as they hold.
	m := l.model
	wantLines(t, "told of t", m.told(m.res[Service]["ns/t"]), r.Warnings[0])
	wantLines(t, "told of twin2", m.told(m.res[Workload]["twin2"]), r.Warnings[1])
	for _, first := range []*resource{m.res[Service]["ns/s"], m.res[Workload]["twin1"], m.res[Workload]["node2"]} {
		wantLines(t, "told of "+first.name, m.told(first))
	}
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// FuzzApply checks that any response is refused as a whole, or taken: then the data plane
// holds together, is the same again from the same input, and loses all of it again.
func FuzzApply(f *testing.F) {
	for _, m := range append(before(), svc("x", vip+" fd96::1", http)) {
		for _, d := range delta(list(m)) {
			if len(d.Resources) == 0 {
				continue
			}
			url := "type.googleapis.com/istio.workload.Address"
			if d.Kind == xds.KindAuthorization {
				url = "type.googleapis.com/istio.security.Authorization"
			}
			b, err := proto.Marshal(d.Resources[0])
			if err != nil {
				f.Fatal(err)
			}
			f.Add(envelope(url, b))
		}
	}
	for _, d := range []string{"01-Address.pb", "02-Authorization.pb", "03-Address.json", "04-Address.pb"} {
		f.Add(read(f, "testdata/ambient-real-live/"+d))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := xds.Parse("input", data)
		if err != nil {
			return
		}
		b := &batch{res: &Result{Counts: map[Kind]xds.Count{}}}
		if err := b.convert(docs, nil); err != nil {
			if exit.Code(err) != exit.Rejected {
				t.Fatalf("%v: code %d", err, exit.Code(err))
			}
			return
		}
		for _, r := range b.res.Rejected {
			if err := r.Err; exit.Code(err) != exit.Rejected || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Fatalf("%q: code %d", err, exit.Code(err))
			}
		}
		l, again := without(nodeSettings{}), without(nodeSettings{})
		start := delta(before())
		for _, l := range []*live{l, again} {
			l.apply(t, start)
			b := &batch{res: &Result{Counts: map[Kind]xds.Count{}}}
			if err := b.convert(docs, nil); err != nil {
				t.Fatal(err)
			}
			changes := b.changes(l)
			for _, c := range changes {
				l.change(c, changes)
			}
			b.tell(l, changes)
			p, err := l.plan(changes, noImage)
			if err != nil {
				if exit.Code(err) != exit.Rejected {
					t.Fatal(err)
				}
				return
			}
			l.published(p)
			l.check(t)
		}
		if l.dump() != again.dump() {
			t.Fatal("not the same again")
		}
		var gone []xds.Document
		for _, k := range []xds.Kind{xds.KindAddress, xds.KindAuthorization} {
			gone = append(gone, xds.Document{Path: "gone", Kind: k, Complete: true})
		}
		l.apply(t, gone)
		if l.dump() != "" || len(l.model.claims)+len(l.model.named)+len(l.model.members)+len(l.model.vips)+len(l.model.addrs)+len(l.model.nodes) > 0 {
			t.Fatalf("traces are left: %s %+v", l.dump(), l.model)
		}
	})
}
