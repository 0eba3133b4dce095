// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/authz"
)

// A pod that comes back after the policies changed without it is known to the image.
func TestPeerThatComesBackIsInTheImage(t *testing.T) {
	k := newKernel(t)
	s := k.open(Options{})
	server := pod("server", "10.0.0.1", `namespace: "a"`)
	client := pod("client", "10.0.0.2", `namespace: "b" service_account: "bad"`)
	other := pod("other", "10.0.0.3", `namespace: "c" service_account: "good"`)
	deny := policy(`name: "deny" namespace: "a" scope: NAMESPACE action: DENY groups { rules { matches { principals { suffix: "sa/bad" } } } }`)
	allowed := func() bool {
		t.Helper()
		peers := map[string]peerC{}
		err := each(s.maps, "km_peer", func(key [16]byte, p *peerC) error {
			peers[unmapped(key[:]).String()] = *p
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return authz.ImageOf(s.maps.image(true)).Decide(uint32(peers["10.0.0.2"].identity), uint32(peers["10.0.0.1"].pset),
			authz.Packet{Source: addressOf([]byte{10, 0, 0, 2}), Destination: addressOf([]byte{10, 0, 0, 1}), Port: 80}).Allowed
	}
	for _, gone := range []string{"client", "server"} {
		apply(t, s, delta(list(server, client, other, deny)))
		if allowed() {
			t.Fatal("the policy does not deny")
		}
		apply(t, s, delta(nil, gone))
		apply(t, s, delta(list(policy(`name: "second" namespace: "c" scope: NAMESPACE action: DENY groups { rules { matches { principals { suffix: "sa/`+gone+`" } } } }`))))
		apply(t, s, delta(list(server, client)))
		if allowed() {
			t.Errorf("%s went and came back: the policy no longer denies", gone)
		}
	}
}
