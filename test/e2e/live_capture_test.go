// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// replayed returns the responses of a capture as a control plane would send them again.
func replayed(t testing.TB, dir string) []controlplane.Response {
	t.Helper()
	list, err := controlplane.ReadCapture(dir)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (s *stream) replays(list ...controlplane.Response) {
	s.p.t.Helper()
	if err := s.Play(within(s.p.t), list...); err != nil {
		s.p.t.Fatal(err)
	}
}

// brokenly replays a capture over a stream that is cut in the middle of the first response,
// one that ends in front of the last, and one that does neither.
func (p *peer) brokenly(list []controlplane.Response) {
	p.t.Helper()
	st := p.next()
	if err := st.Asked(within(p.t), list[0]); err != nil {
		p.t.Fatal(err)
	}
	size := 0
	for _, r := range list[0].Resources {
		size += len(r.Body.GetValue())
	}
	p.CutAfter(int64(size / 2))
	if _, err := st.Send(list[0]); err == nil {
		<-st.Gone()
	}
	st = p.next()
	st.replays(list[:len(list)-1]...)
	st.End(unavailable)
	<-st.Gone()
	p.next().replays(list...)
}

// What istiod sent to sidecars, in both variants.
func TestLiveCaptures(t *testing.T) {
	for _, c := range []struct {
		name string
		on   func(*node) (check func())
	}{
		{"sidecar-kube-nohbone", (*node).sidecarKube},
		{"sidecar-file", (*node).sidecarFile},
		{"scale-1000", (*node).scale1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			variants(t, func(t *testing.T, variant string) {
				n := upNode(t)
				check := c.on(n)
				cp := newPeer(t, controlplane.Config{})
				s := n.linked(cp.Address(), variant)
				cp.brokenly(replayed(t, capture(t, c.name)))
				s.hear(0, "READY=1")
				check()
				s.stop(exitDone)
			})
		})
	}
}

// sidecarFile is sidecarKube for the capture of that name.
func (n *node) sidecarFile() func() {
	n.t.Helper()
	p := newPod(n.t)
	p.serve("10.0.1.1:9081", "10.0.1.2:9081", "10.0.2.1:9081", "10.0.3.1:9082", "10.0.4.1:9082", "10.0.3.1:9444", "10.0.4.1:9444", "10.96.0.12:80")
	n.enroll(p)
	c := p.client(0)
	return func() {
		n.t.Helper()
		wantOnly(n.t, c.spread("10.96.0.10:9080", 100), "10.0.1.1:9081", "10.0.1.2:9081", "10.0.2.1:9081", "10.0.3.1:9082", "10.0.4.1:9082")
		wantOnly(n.t, c.spread("10.96.0.11:9080", 100), "10.0.3.1:9082", "10.0.4.1:9082")
		wantOnly(n.t, c.spread("10.96.0.11:9443", 100), "10.0.3.1:9444", "10.0.4.1:9444")
		wantReach(n.t, c, "10.96.0.12:80", "10.96.0.12:80") // its route depends on the request
	}
}

// scale1000 is sidecarKube for the capture of that name.
func (n *node) scale1000() func() {
	n.t.Helper()
	p := newPod(n.t)
	var endpoints []string // of service 781
	for i := range 10 {
		endpoints = append(endpoints, fmt.Sprintf("10.200.31.%d:9080", 61+i))
	}
	p.serve(endpoints...)
	n.enroll(p)
	c := p.client(0)
	return func() {
		n.t.Helper()
		for kind, want := range map[string]int{"clusters": 1003, "listeners": 1002} {
			if got := len(n.held(kind)); got != want {
				n.t.Errorf("%d %s, want %d", got, kind, want)
			}
		}
		wantOnly(n.t, c.spread("10.100.3.32:9080", 200), endpoints...)
	}
}

// What istiod sent to nodes of ambient mode.
func TestLiveCapturesAmbient(t *testing.T) {
	for _, c := range []struct {
		name string
		on   func(*mesh) (check func())
	}{
		{"ambient-real", (*mesh).ambientReal},
		{"ambient-scale-10000pods", (*mesh).scale10000Pods},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t)
			check := c.on(m)
			cp := newPeer(t, controlplane.Config{})
			s := m.linked(cp.Address(), "")
			cp.brokenly(replayed(t, m.capture(c.name)))
			s.hear(0, "READY=1")
			check()
			s.stop(exitDone)
		})
	}
}

// ambientReal makes pods for the capture of that name, and returns what looks whether their
// connections go where that says.
func (m *mesh) ambientReal() func() {
	m.t.Helper()
	c := m.enrolled("10.244.1.99").client(0)
	a := []string{"10.244.1.11:8080", "10.244.1.12:8080", "10.244.2.13:8080"}
	m.pod().serve(append(a, "10.244.1.50:15019")...)
	stranger := m.pod("10.244.2.77").client(0)
	b := m.enrolled("10.244.1.22")
	b.serve("10.244.1.22:9090")
	return func() {
		m.t.Helper()
		wantSpread(m.t, c, "10.96.1.1:80", counts{a[0]: 10, a[1]: 10, a[2]: 10})
		wantReach(m.t, c, "10.96.1.2:90", "10.244.1.50:15019") // the waypoint
		if !denied(stranger, "10.244.1.22:9090") {
			m.t.Error("a stranger was let in to echo-b in spite of STRICT")
		}
		m.wantNames("workloads", "uid", pods("echo-a-1", "echo-a-2", "echo-a-3", "echo-b-1", "echo-b-2", "echo-b-3", "waypoint-1")...)
		m.wantNames("policies", "name", "istio-system/istio_converted_static_strict", "ns/allow-a", "ns/deny-cidr")
	}
}

// scale10000Pods returns what counts the capture of that name.
func (m *mesh) scale10000Pods() func() {
	return func() {
		m.t.Helper()
		for kind, want := range map[string]int{"services": 1000, "workloads": 10000} {
			var list []any
			m.query(&list, "get", kind)
			if len(list) != want {
				m.t.Errorf("%d %s, want %d", len(list), kind, want)
			}
		}
	}
}

// What istiod sent to a node of ambient mode, while a service came and went: all versions
// are empty.
func TestLiveCaptureAmbientChanges(t *testing.T) {
	m := newMesh(t)
	c := m.enrolled("10.244.1.99").client(0)
	a := []string{"10.244.1.11:8080", "10.244.1.12:8080", "10.244.2.13:8080", "10.244.2.14:8080"}
	m.pod().serve(append(a, "10.96.1.9:81")...)
	stranger := m.pod("10.244.2.77").client(0)
	b := m.enrolled("10.244.1.22")
	b.serve("10.244.1.22:9090")
	list := replayed(t, m.capture("ambient-real-live"))
	cp := newPeer(t, controlplane.Config{})
	s := m.linked(cp.Address(), "")
	st := cp.next()
	st.replays(list[:2]...)
	s.hear(0, "READY=1")
	wantReach(t, c, "10.96.1.9:81", "10.96.1.9:81")
	if !denied(stranger, "10.244.1.22:9090") {
		t.Error("a stranger was let in to echo-b in spite of STRICT")
	}
	before := m.views()
	st.replays(list[2])
	// It prefers the zone, which the node has from the pod of echo-b.
	wantSpread(t, c, "10.96.1.9:81", counts{a[0]: 10, a[1]: 10})
	wantSpread(t, c, "10.96.1.1:80", counts{a[0]: 5, a[1]: 5, a[2]: 5, a[3]: 5})
	// The stream ends and begins anew: istiod sends all of it once more.
	st.End(unavailable)
	<-st.Gone()
	st = cp.next()
	st.replays(list[:3]...)
	wantSpread(t, c, "10.96.1.9:81", counts{a[0]: 10, a[1]: 10})
	st.replays(list[3])
	wantReach(t, c, "10.96.1.9:81", "10.96.1.9:81")
	wantSpread(t, c, "10.96.1.1:80", counts{a[0]: 5, a[1]: 5, a[2]: 5})
	if after := m.views(); !reflect.DeepEqual(before, after) {
		t.Errorf("get shows\n%v, then\n%v", before, after)
	}
	s.stop(exitDone)
}
