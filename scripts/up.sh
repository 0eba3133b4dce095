#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Bring this host up with the example configuration of a mode, prove that
# connections follow it, and show the state. Again: changes nothing that need
# not change.
#
# MODE=ads, the default here, or MODE=workload
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
mode=${MODE:-ads}
node="${KMESH_NODE:-$top/build/kmesh-node} --mode $mode"

step() { printf '\n== %s\n' "$*"; }

[ "$(id -u)" -eq 0 ] || {
	echo "up: not root: run 'sudo make up'" >&2
	exit 1
}
step "kmesh-node up"
$node up
step "apply example/$mode"
$node apply -f "$top/example/$mode"
step "connections to the service addresses, from an enrolled network namespace"
"$top/scripts/demo.sh" "$mode"
step "kmesh-node status"
$node status
