#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Prove that the configuration of example/ads is what connections get: a network
# namespace of its own is enrolled, holds the endpoints' addresses, and connects
# to the service addresses. It ends with this script: nothing of it stays.
set -eu

# A namespace without a name leaves no mount of /run/netns behind.
if [ "${1-}" != inside ]; then exec unshare --net "$0" inside; fi

top=$(cd "$(dirname "$0")/.." && pwd)
node="${KMESH_NODE:-$top/build/kmesh-node} --mode ads"

ip link set lo up
for addr in 192.0.2.11 192.0.2.12 192.0.2.13 192.0.2.21 192.0.2.22 192.0.2.23; do
	ip addr add "$addr/32" dev lo
done
services='
198.51.100.10:80=192.0.2.11:8080:60,192.0.2.12:8080:20,192.0.2.13:8080:20
198.51.100.20:8080=192.0.2.21:8081:45,192.0.2.22:8081:45,192.0.2.23:8081:10'
# A host may run without IPv6.
if [ -e /proc/net/if_inet6 ]; then
	for addr in 2001:db8:2::11 2001:db8:2::12 2001:db8:2::13; do
		ip addr add "$addr/128" dev lo nodad
	done
	services="$services
[2001:db8:51::10]:80=[2001:db8:2::11]:8080:40,[2001:db8:2::12]:8080:40,[2001:db8:2::13]:8080:20"
fi

trap '$node unenroll --self' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
$node enroll --self
# shellcheck disable=SC2086 # one argument for each service
"$top/build/test/demo" $services
