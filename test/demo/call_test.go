// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"
)

func TestCallsAreTold(t *testing.T) {
	c, err := parseCall("192.0.2.1->[2001:db8::1]:80=denied")
	if err != nil || c.from != netip.MustParseAddr("192.0.2.1") || c.to != netip.MustParseAddrPort("[2001:db8::1]:80") || c.want != denied {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"a->192.0.2.1:80=denied", "192.0.2.1->b=denied", "192.0.2.1->192.0.2.1:80", "192.0.2.1->192.0.2.1:80=perhaps"} {
		if c, err := parseCall(bad); err == nil {
			t.Errorf("%q became %+v", bad, c)
		}
	}
	if isCall("192.0.2.1:80=192.0.2.2:80:100") || !isCall("192.0.2.1->192.0.2.2:80=denied") {
		t.Error("a service is taken for a call, or a call for a service")
	}
}
