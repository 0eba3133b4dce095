#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
set -eu

case $1 in
remove | purge)
	if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
	rm -rf /run/kmesh-node
	;;
esac
if [ "$1" = purge ] && [ -d /etc/kmesh-node ]; then
	rmdir /etc/kmesh-node || echo "kmesh-node: /etc/kmesh-node stays: it is not empty" >&2
fi
