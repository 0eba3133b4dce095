// SPDX-License-Identifier: Apache-2.0

package loader

import "testing"

func TestUpOnACleanHost(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	t.Log(h.log.String())
	must(t, h.up())
	t.Log(h.log.String())
}
