// SPDX-License-Identifier: Apache-2.0

package e2e

import (
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

// What istiod sent to a sidecar, in both variants; the stream is cut after each of the
// responses and begins anew.
func TestLiveCaptureSidecarKube(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		n := upNode(t)
		check := n.sidecarKube()
		list := replayed(t, capture(t, "sidecar-kube-nohbone"))
		cp := newPeer(t, controlplane.Config{})
		s := n.linked(cp.Address(), variant)
		for i := range list {
			st := cp.next()
			st.replays(list[:i+1]...)
			if i == len(list)-1 {
				break
			}
			st.End(unavailable)
			<-st.Gone()
		}
		s.hear(0, "READY=1")
		check()
		s.stop(exitDone)
	})
}

// What istiod sent to a node of ambient mode, while a service came and went: all versions
// are empty.
func TestLiveCaptureAmbient(t *testing.T) {
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

func TestLiveCaptureScale1000(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		n := upNode(t)
		cp := newPeer(t, controlplane.Config{})
		s := n.linked(cp.Address(), variant)
		cp.next().replays(replayed(t, capture(t, "scale-1000"))...)
		s.hear(0, "READY=1")
		if got := len(n.held("clusters")); got != 1003 {
			t.Errorf("%d clusters", got)
		}
		s.stop(exitDone)
	})
}
