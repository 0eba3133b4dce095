// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"net/netip"
	"slices"
	"testing"
)

func TestEnrolledShowsWhatAPodWasFoundBy(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	cookie := h.enroll(newPod(t, "192.0.2.7/24"))
	must(t, h.cfgHandles(func(hd *Handles) error {
		l, err := hd.Enrolled()
		if err == nil && (len(l) != 1 || l[0].Cookie != cookie || l[0].Waypoint ||
			!slices.Contains(l[0].Addresses, netip.MustParseAddr("192.0.2.7"))) {
			t.Errorf("%+v", l)
		}
		return err
	}))
	must1(Down(&h.cfg))(t)
}
