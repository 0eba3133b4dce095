#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The CNI plugin is a copy of kmesh-node where the container runtime looks: after an
# upgrade it is made anew, where there is one. A call that runs goes on with the old one.
#
# usage: refresh-cni
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"

[ $# -eq 0 ] || die 2 "takes no argument: settings are in $defaults"
plugin=${KMESH_NODE_CNI_BIN_DIR:-/opt/cni/bin}/kmesh-cni
[ -e "$plugin" ] || exit 0
need_root
find_node
if cmp -s "$node" "$plugin"; then exit 0; fi
trap 'rm -f "$plugin.new"' EXIT
install -m 755 "$node" "$plugin.new"
mv -f "$plugin.new" "$plugin"
say "installed $plugin"
