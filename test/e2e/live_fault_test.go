// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// mangled is a cluster whose only endpoint has no port that there is.
func mangled(name string) obj {
	c := static(name, epA1)
	c["loadAssignment"] = cla(name, locality(0, 0, obj{"endpoint": obj{"address": obj{
		"socketAddress": obj{"address": "10.0.0.1", "portValue": 70000}}}}))
	return c
}

// What is wrong is named with its field, what it was before stays, and all the rest of the
// response and of the stream is in force.
func TestLiveBadResourceIsRejectedAndNoOther(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		n, _, c := site(t)
		cp := newPeer(t, controlplane.Config{})
		s := n.linked(cp.Address(), variant)
		st := cp.next()
		st.taken(cds(static("a", epA1), static("b", epB1)), lds(listener(service, toCluster("a")), listener(service6, toCluster("b"))))
		s.hear(0, "READY=1")
		before := n.generation()
		st.rejected(cds(mangled("a"), static("b", six1), static("new", six2)), "a", "70000", "1 of 3", "port")
		reaches(t, c, map[string]string{service: epA1, service6: six1})
		if after := n.generation(); after != before+1 {
			t.Errorf("generation %d, then %d", before, after)
		}
		if got := n.held("clusters"); !slices.Equal(got, []string{"a", "b", "new"}) {
			t.Errorf("clusters %q", got)
		}
		s.logged("70000")
		// A listener whose only change is wrong stays where it is.
		wrong := listener(service, toCluster(""))
		st.rejected(lds(wrong, listener(service6, toCluster("new"))), listenerName(service), "cluster")
		reaches(t, c, map[string]string{service: epA1, service6: six2})
		// And it goes on: once it is right it is in force.
		st.taken(cds(static("a", epA2), static("new", six1)))
		reaches(t, c, map[string]string{service: epA2, service6: six1})
		s.stop(exitDone)
	})
}

func listenerName(addr string) string { return listener(addr, obj{})["name"].(string) }

func TestLiveWorkloadBadResourceIsRejectedAndNoOther(t *testing.T) {
	m, c := lane(t)
	cp := newPeer(t, controlplane.Config{})
	s := m.linked(cp.Address(), "")
	st := cp.next()
	st.taken(wds(serviceA(), a1(), wsvc("b", vips("10.96.0.2"), wport(80, 9090)), wpod("b1", ip2, serves("b", wport(80, 9090)))), policies())
	s.hear(0, "READY=1")
	wrong := a1("addresses", [][]byte{{1, 2, 3}})
	st.rejected(wdelta(nil, wrong, wpod("b1", ip3, serves("b", wport(80, 9090)))), uid("a1"), "addresses")
	reaches(t, c, map[string]string{vipA: at(ip1, 8080), vipB: at(ip3, 9090)})
	bad := policy("p", "NAMESPACE", "DENY", onlyWhen("sourceIps", []obj{{"address": []byte{1}, "length": 8}}))
	st.rejected(policyDelta(nil, bad, policy("q", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{1}))), "ns/p", "source_ips")
	m.wantNames("policies", "name", "ns/q")
	st.taken(wdelta(nil, with(a1(), "addresses", [][]byte{ipBytes(ip4)})))
	wantReach(t, c, vipA, at(ip4, 8080))
	s.stop(exitDone)
}

// garbage does not even parse, or is of another type than its response.
func garbage(typeURL, name string) controlplane.Resource {
	return controlplane.Resource{Name: name, Body: &anypb.Any{TypeUrl: typeURL, Value: []byte{0xff, 0xff, 0xff}}}
}

func TestLiveGarbageIsRejected(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		n, _, c := site(t)
		cp := newPeer(t, controlplane.Config{})
		s := n.linked(cp.Address(), variant)
		st := cp.next()
		listeners := lds(listener(service, toCluster("a")))
		st.taken(cds(static("a", epA1)), listeners)
		s.hear(0, "READY=1")

		good := said(t, cds(static("a", epA2)))
		r := good
		r.Resources = append(r.Resources, garbage(controlplane.Cluster, "torn"), garbage("type.googleapis.com/google.protobuf.Empty", "other"))
		q := st.answered(r)
		cp.wantNACK(q, "2 of 3")
		if variant == "delta" { // the state of the world does not say its name
			cp.wantNACK(q, "torn", "other")
		}
		wantReach(t, c, service, epA2)

		// What was not asked for, answers to nobody, and no answer at all.
		before := n.generation()
		for _, x := range []controlplane.Response{
			{Type: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", Version: "1"},
			{Type: "", Version: "1"},
			{Type: "nonsense", Version: "1", Resources: []controlplane.Resource{garbage("nonsense", "x")}},
		} {
			if _, err := st.Send(x); err != nil {
				t.Fatal(err)
			}
		}
		// The same response again, with the same nonce.
		same := cp.versioned(good)
		same.Nonce = "again"
		for range 2 {
			if _, err := st.Send(same); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := st.Answer(within(t), controlplane.Cluster, "again"); err != nil {
			t.Fatal(err)
		}
		st.taken(listeners) // all of it has been read
		if after := n.generation(); after != before {
			t.Errorf("generation %d, then %d", before, after)
		}
		for _, q := range cp.Requests() {
			if strings.Contains(q.Type, "Secret") || q.Type == "" || q.Type == "nonsense" || q.Stream != 1 {
				t.Errorf("request %+v", q)
			}
		}
		s.stop(exitDone)
	})
}

// Whatever a control plane says, it is answered, the stream goes on, and what it said
// before of others stays.
func TestLiveOddResponses(t *testing.T) {
	long := strings.Repeat("n", 1<<20)
	named := func(d doc, name string) controlplane.Response {
		r := said(t, d)
		r.Resources[0].Name = name
		return r
	}
	empty := func(typeURL string, removed ...string) controlplane.Response {
		return controlplane.Response{Type: typeURL, Removed: removed}
	}
	self := edsCluster("self")
	self["edsClusterConfig"] = obj{"serviceName": long, "edsConfig": obj{"ads": obj{}}}
	odd := []controlplane.Response{
		said(t, cds(static("twice", epB1), static("twice", epB2))),
		said(t, cds(static("", epB1))), said(t, cds(static(long, epB1))), said(t, cds(static("ü\x01\n", epB1))),
		named(cds(static("one", epB1)), "other"), named(cds(static("one", epB1)), ""),
		said(t, cds(self)),
		said(t, eds(assigned("nobody", epB1))), said(t, eds(assigned("", epB1))), said(t, eds(cla("a", obj{}))),
		said(t, lds(listener("10.96.0.12:80", toCluster(long)))), said(t, lds(listener("10.96.0.12:80", toRDS(long)))),
		said(t, lds(chains("10.96.0.12:80"))), said(t, lds(obj{"name": "no-address"})),
		said(t, lds(listener("10.96.0.12:80", toCluster("a")), listener("10.96.0.12:80", toCluster("b")))),
		empty(controlplane.Cluster, "", "nobody", long), empty(controlplane.Listener, "nobody"),
		empty(controlplane.Endpoints, "nobody"), empty(controlplane.Cluster), empty(controlplane.Listener),
	}
	variants(t, func(t *testing.T, variant string) {
		n, _, c := site(t)
		cp := newPeer(t, controlplane.Config{})
		s := n.linked(cp.Address(), variant)
		st := cp.next()
		st.taken(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
		s.hear(0, "READY=1")
		keep := said(t, cds(static("a", epA1)))
		stay := said(t, lds(listener(service, toCluster("a"))))
		for i, r := range odd {
			// Of the state of the world all that stays is said again.
			if variant == "sotw" && r.Type == controlplane.Cluster {
				r.Resources = append(slices.Clone(keep.Resources), r.Resources...)
			}
			if variant == "sotw" && r.Type == controlplane.Listener {
				r.Resources = append(slices.Clone(stay.Resources), r.Resources...)
			}
			r.Version = fmt.Sprint("odd", i)
			nonce, err := st.Send(r)
			if err != nil {
				t.Fatal(err)
			}
			if r.Type == controlplane.Endpoints {
				continue // which is not asked for
			}
			if _, err := st.Answer(within(t), r.Type, nonce); err != nil {
				t.Fatalf("odd response %d: %v", i, err)
			}
		}
		wantReach(t, c, service, epA1)
		cp.known = map[string][]string{controlplane.Cluster: {"twice", "one", "self"}}
		st.taken(cds(static("a", epA2)))
		wantReach(t, c, service, epA2)
		s.stop(exitDone)
	})
}

// A push that is cut anywhere has the effect of the responses that came whole, and the
// next stream brings all of it.
func TestLiveStreamIsCutInTheMiddleOfAPush(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		n, p, cp, s := highroad(t, variant)
		st := cp.next()
		push := func(i int) []doc {
			ep := []string{epA1, epB1}[i%2]
			var clusters, endpoints []obj
			for k := range 200 {
				name := fmt.Sprintf("c%d-%d", i, k)
				clusters = append(clusters, edsCluster(name))
				endpoints = append(endpoints, assigned(name, ep))
			}
			return []doc{cds(clusters...), eds(endpoints...), lds(listener(service, toCluster(fmt.Sprintf("c%d-7", i))))}
		}
		st.taken(push(0)...)
		s.hear(0, "READY=1")
		d := p.dialer(service)
		c := p.client(0)
		for i, after := range []int64{0, 500, 9_000} {
			// In the middle of the clusters, or of the endpoints.
			docs := push(i + 1)
			st.taken(docs[:i/2]...)
			cp.CutAfter(after)
			if err := st.Asked(within(t), said(t, docs[i/2])); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Send(cp.versioned(said(t, docs[i/2]))); err == nil {
				<-st.Gone()
			}
			d.more(aFew)
			comesToReachFast(t, c, service, []string{epA1, epB1}[i%2])
			st = cp.again()
			st.taken(docs...)
			comesToReachFast(t, c, service, []string{epA1, epB1}[(i+1)%2])
		}
		wantOnly(t, d.stop(), epA1, epB1)
		if got := len(n.held("clusters")); got != 200 {
			t.Errorf("%d clusters", got)
		}
		s.stop(exitDone)
	})
}

// Resources and responses of more than 10 MB, most of which does not matter here.
func TestLiveResponseOfManyMegabytes(t *testing.T) {
	const size = 12 << 20
	variants(t, func(t *testing.T, variant string) {
		n, _, c := site(t)
		cp := newPeer(t, controlplane.Config{})
		s := n.linked(cp.Address(), variant)
		st := cp.next()
		many := []obj{edsCluster("a")}
		for i := range size >> 18 {
			x := static(fmt.Sprintf("x%d", i), epB1)
			x["altStatName"] = strings.Repeat("x", 1<<18)
			many = append(many, x)
		}
		huge := func(ep string) obj {
			l := locality(0, 0, endpoint(ep, 1))
			l["locality"] = obj{"region": strings.Repeat("x", size)}
			return cla("a", l)
		}
		st.taken(cds(many...), eds(huge(epA1)), lds(listener(service, toCluster("a"))))
		s.hear(0, "READY=1")
		wantReach(t, c, service, epA1)
		st.taken(eds(huge(epA2)))
		wantReach(t, c, service, epA2)
		s.stop(exitDone)
	})
}

func TestLiveWorkloadResponseOfManyMegabytes(t *testing.T) {
	m, c := lane(t)
	cp := newPeer(t, controlplane.Config{})
	s := m.linked(cp.Address(), "")
	st := cp.next()
	huge := a1("canonicalName", strings.Repeat("x", 12<<20))
	st.taken(wds(serviceA(), huge), policies())
	s.hear(0, "READY=1")
	wantReach(t, c, vipA, at(ip1, 8080))
	// Another one, which is left out for its address: the rest of the response is not.
	wrong := with(huge, "uid", uid("wrong"), "addresses", [][]byte{{1}})
	st.rejected(wdelta([]string{uid("a1")}, wrong, wpod("a2", ip2, serves("a", wport(80, 8080)))), uid("wrong"), "addresses")
	wantReach(t, c, vipA, at(ip2, 8080))
	// What there is no room for, old and new at once, is named, and the rest goes on.
	half := with(huge, "canonicalName", strings.Repeat("x", 8<<20))
	st.taken(wdelta(nil, half))
	st.rejected(wdelta(nil, with(half, "node", "n"), wpod("a3", ip3, serves("a", wport(80, 8080)))), "2 of 2", "--workloads")
	wantOnly(t, c.spread(vipA, 20), at(ip1, 8080), at(ip2, 8080))
	st.taken(wdelta([]string{uid("a1")}))
	wantReach(t, c, vipA, at(ip2, 8080))
	s.stop(exitDone)
}
