#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Bring this host up in ads mode with the example configuration, prove that
# connections follow it, and show the state. Again: changes nothing that need
# not change.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
node="${KMESH_NODE:-$top/build/kmesh-node} --mode ads"

step() { printf '\n== %s\n' "$*"; }

[ "$(id -u)" -eq 0 ] || {
	echo "up: not root: run 'sudo make up'" >&2
	exit 1
}
step "kmesh-node up"
$node up
step "apply example/ads"
$node apply -f "$top/example/ads"
step "connections to the service addresses, from an enrolled network namespace"
"$top/scripts/demo.sh"
step "kmesh-node status"
$node status
