// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// A pod's policies hold at each of its addresses from ADD on, also at one that the control
// plane does not know, whether it knew the pod before or hears of it later, and whoever
// holds the configuration.
func TestCNIPoliciesHoldAtAllAddressesOfAPod(t *testing.T) {
	const known, more = serverIP, "10.3.0.77"
	deny := policies(policy("deny", "NAMESPACE", "DENY", onlyWhen()))
	empty := []doc{wds(serviceA(), a1()), deny}
	first := []doc{wds(serviceA(), a1(), wpod("p", known)), deny}
	holds := func(t *testing.T, r *cniRuntime, other *client) (check func()) {
		t.Helper()
		p := r.add(known, more)
		p.serve(at(known, 7000), at(more, 7000))
		return func() {
			t.Helper()
			for _, ip := range []string{known, more} {
				if !denied(other, at(ip, 7000)) {
					t.Errorf("a denied connection to %s was let in", ip)
				}
			}
			r.del(p)
		}
	}
	t.Run("up alone", func(t *testing.T) {
		m := newMesh(t)
		r := newRuntime(m.node, m.net)
		other := m.pod(clientIP).client(0)
		m.apply(first...)
		holds(t, r, other)()
	})
	for name, pods := range map[string]struct{ before, after []doc }{
		"run, known before": {before: first},
		"run, known later":  {before: empty, after: []doc{wdelta(nil, wpod("p", known))}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			r := newRuntime(m.node, m.net, "--cni-log-level", "warning")
			other := m.pod(clientIP).client(0)
			cp := controlplane.NewPeer(controlplane.Config{})
			serving(t, cp)
			s := m.linked(cp.Address(), "delta")
			st, err := cp.Stream(within(t))
			if err != nil {
				t.Fatal(err)
			}
			play := func(docs []doc) {
				t.Helper()
				if len(docs) == 0 {
					return
				}
				if err := st.Play(within(t), saidAll(t, docs...)...); err != nil {
					t.Fatal(err)
				}
			}
			play(pods.before)
			s.hear(0, "READY=1")
			check := holds(t, r, other)
			play(pods.after)
			check()
			s.stop(exitDone)
		})
	}
}
