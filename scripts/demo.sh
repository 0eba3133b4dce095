#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Prove that the configuration of example/MODE is what connections get: a network
# namespace of its own is enrolled, holds the endpoints' addresses, and connects
# to the service addresses; in workload mode another one calls the endpoints, which
# policies allow or deny. Both end with this script: nothing of them stays.
#
# usage: demo.sh [ads|workload]
set -eu

mode=${1:-ads}
# A namespace without a name leaves no mount of /run/netns behind.
if [ "${2-}" != inside ]; then exec unshare --net "$0" "$mode" inside; fi

top=$(cd "$(dirname "$0")/.." && pwd)
node="${KMESH_NODE:-$top/build/kmesh-node} --mode $mode"

ip link set lo up
for addr in 192.0.2.11 192.0.2.12 192.0.2.13 192.0.2.21 192.0.2.22 192.0.2.23; do
	ip addr add "$addr/32" dev lo
done
services='
198.51.100.10:80=192.0.2.11:8080:60,192.0.2.12:8080:20,192.0.2.13:8080:20
198.51.100.20:8080=192.0.2.21:8081:45,192.0.2.22:8081:45,192.0.2.23:8081:10'
case $mode in
ads) shares6='40 40 20' ;;
workload) shares6='60 20 20' ;;
*)
	echo "demo: '$mode' is no mode: ads or workload" >&2
	exit 2
	;;
esac
# A host may run without IPv6.
if [ -e /proc/net/if_inet6 ]; then
	for addr in 2001:db8:2::11 2001:db8:2::12 2001:db8:2::13; do
		ip addr add "$addr/128" dev lo nodad
	done
	# shellcheck disable=SC2086 # three numbers
	services="$services
$(printf '[2001:db8:51::10]:80=[2001:db8:2::11]:8080:%s,[2001:db8:2::12]:8080:%s,[2001:db8:2::13]:8080:%s' $shares6)"
fi

guests=
trap '$node unenroll --self; [ -z "$guests" ] || kill "$guests"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A web pod that is no endpoint, a guest and a stranger call from the other end of a veth.
if [ "$mode" = workload ]; then
	unshare --net sleep 600 &
	guests=$!
	here=$(readlink /proc/self/ns/net)
	while [ "$(readlink "/proc/$guests/ns/net")" = "$here" ]; do sleep 0.1; done
	ip link add pod type veth peer name eth0 netns "$guests"
	ip link set pod up
	inside() { nsenter --target "$guests" --net "$@"; }
	inside ip link set eth0 up
	for addr in 192.0.2.24 192.0.2.31 192.0.2.40; do
		inside ip addr add "$addr/32" dev eth0
		ip route add "$addr/32" dev pod
	done
	inside ip route add 192.0.2.0/24 dev eth0
	services="--callers /proc/$guests/ns/net $services
192.0.2.31->192.0.2.21:8081=denied 192.0.2.40->192.0.2.21:8081=allowed
192.0.2.24->192.0.2.11:8080=allowed 192.0.2.40->192.0.2.11:8080=denied"
fi

$node enroll --self
# shellcheck disable=SC2086 # one argument for each service
"$top/build/test/demo" $services
