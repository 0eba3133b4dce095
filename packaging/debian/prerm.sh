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
# Nobody is to call a plugin that is not there.
/usr/sbin/kmesh-node cni uninstall >/dev/null ||
	echo "kmesh-node: the CNI plugin could not be uninstalled: see above" >&2
/usr/sbin/kmesh-node down || {
	code=$?
	echo "kmesh-node: the data plane could not be taken down: the package stays; see above" >&2
	exit "$code"
}
