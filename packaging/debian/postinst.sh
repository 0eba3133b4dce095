#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# After an upgrade a service that runs is restarted: it exchanges the programs under
# the connections. A first installation starts nothing.
set -eu

[ "$1" = configure ] && [ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if [ -n "${2-}" ]; then
	/usr/lib/kmesh-node/refresh-cni || echo "kmesh-node: the CNI plugin stays that of the old version: run kmesh-node cni install" >&2
	# A new version that does not start leaves the data plane of the old one; other
	# packages of this run of dpkg are not to wait for it.
	systemctl try-restart kmesh-node.service ||
		echo "kmesh-node: the service did not restart, and the data plane stays as it was; see: systemctl status kmesh-node" >&2
else
	echo "kmesh-node: to start it now and at each boot: systemctl enable --now kmesh-node"
fi
