#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A removal stops the service and takes the data plane down, as nothing would be left
# to do it with; an upgrade keeps both at work.
set -eu

[ "$1" = remove ] || exit 0
if [ -d /run/systemd/system ]; then systemctl disable --now kmesh-node.service; fi

here=/usr/lib/kmesh-node
# The settings say which data plane is ours.
# shellcheck source=scripts/common.sh
. "$here/common.sh"

# stays CODE WHAT: where a network names a plugin and nothing is up, pods may not start.
stays() {
	echo "kmesh-node: $2: the package stays; see above" >&2
	exit "$1"
}

uninstall_plugin /usr/sbin/kmesh-node || stays $? "the CNI plugin could not be uninstalled"
/usr/sbin/kmesh-node down || stays $? "the data plane could not be taken down"
