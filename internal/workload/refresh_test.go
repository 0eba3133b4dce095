// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/authz"
)

// A writer that still has the km_policy that gave way to a larger one publishes into it;
// what it says of peers and policies is in the new one after Renew, and from when it gave way it
// cannot publish any more.
func TestMapsThatGaveWay(t *testing.T) {
	k, old := newKernel(t), newKernel(t)
	s := k.open(Options{})
	for name, fd := range k.fds {
		if name != "km_policy" && name != "km_pstate" {
			old.fds[name] = fd
		}
	}
	apply(t, s, delta(list(pod("server", "10.0.0.1", `namespace: "a"`), pod("client", "10.0.0.2", `namespace: "b"`),
		policy(`name: "other" namespace: "c" scope: NAMESPACE action: DENY groups { rules { matches { namespaces { exact: "d" } } } }`))))
	apply(t, old.open(Options{}), delta(list(
		policy(`name: "deny" namespace: "a" scope: NAMESPACE action: DENY groups { rules { matches { namespaces { exact: "b" } } } }`))))
	late := old.open(Options{})
	late.maps.pstate.retired = 1
	if err := s.Renew(); err != nil {
		t.Fatal(err)
	}
	d := authz.ImageOf(s.maps.image(true)).Decide(uint32(s.live.peers[addressOf([]byte{10, 0, 0, 2})].identity),
		uint32(s.live.peers[addressOf([]byte{10, 0, 0, 1})].pset),
		authz.Packet{Source: addressOf([]byte{10, 0, 0, 2}), Destination: addressOf([]byte{10, 0, 0, 1}), Port: 80})
	if d.Allowed {
		t.Error("the policy that the other writer published does not hold")
	}
	if _, err := late.Apply(delta(nil, "client"), false); err == nil {
		t.Error("published into a map that nothing reads")
	}
}
