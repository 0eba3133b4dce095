#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The binary is one that can be given to thousands of hosts: at most 25 MB, which it
# is as long as nothing in it calls methods by name (scripts/overlay.sh).
set -eu

# shellcheck source=test/package/lib.sh
. "${here:?}/lib.sh"

fits() {
	size=$(wc -c <"${top:?}/build/kmesh-node")
	[ "$size" -le 25000000 ] || fail "build/kmesh-node has $size bytes, more than 25000000"
}

# What stands in for text/template says so where it is; the binary has none else.
left_out() {
	grep -q -F 'text/template is left out of this binary' "$top/build/kmesh-node" ||
		fail 'build/kmesh-node is linked without scripts/overlay.sh'
	"$top/build/kmesh-node" up --help >"${tmp:?}/help"
	grep -q -e '--manage value ' "$tmp/help" || fail "no help without text/template: $(cat "$tmp/help")"
}

run_tests fits left_out
