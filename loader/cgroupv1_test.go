// SPDX-License-Identifier: Apache-2.0

package loader

import "testing"

func TestControllersThatMarkSocketsAreFound(t *testing.T) {
	const head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t3\t9\t1\n"
	for text, want := range map[string]string{
		head:                        "",
		head + "net_cls\t4\t2\t1\n": "net_cls",
		head + "net_cls\t4\t1\t1\nnet_prio\t4\t1\t1\n": "", // no group but the root
		head + "net_cls\t0\t7\t1\n":                    "", // on cgroup2, which marks nothing
		head + "net_cls\t0\t7\t1\nnet_prio\t5\t2\t1\n": "net_prio",
	} {
		if got := socketController(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
