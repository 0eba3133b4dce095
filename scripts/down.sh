#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Take away all that up.sh made. Again: exits 0.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
node=${KMESH_NODE:-$top/build/kmesh-node}
[ -x "$node" ] || {
	echo "down: $node is not here: run 'make', which builds it" >&2
	exit 1
}
exec "$node" down
