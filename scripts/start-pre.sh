#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Make the host ready for kmesh-node: modules that it needs; then, in the mount
# namespace of the host's first process, so that mounts outlive whoever runs this,
# kmesh-node's own check, which mounts bpffs and cgroup2, and whose exit code is this
# script's. Again: changes nothing. When it fails, what it mounted goes again.
#
# usage: start-pre
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"

[ $# -eq 0 ] || die 2 "takes no argument: settings are in $defaults"
need_root

# A mount that is made in a unit's own mount namespace dies with the unit, and
# takes every pin with it.
if [ "$(readlink /proc/self/ns/mnt)" != "$(readlink /proc/1/ns/mnt)" ]; then
	[ -z "${KMESH_NODE_ENTERED-}" ] || die 10 "cannot enter the mount namespace of process 1"
	say "entering the mount namespace of process 1"
	KMESH_NODE_ENTERED=1 exec nsenter --mount=/proc/1/ns/mnt -- "$here/${0##*/}"
fi

find_node

# veth: for the self-test, and for pods. It may be built in, or be loaded by the
# kernel itself when it is first asked for: so it is no error where it cannot be.
if [ ! -d /sys/module/veth ] && command -v modprobe >/dev/null && modprobe -q veth && [ -d /sys/module/veth ]; then
	say "loaded module veth"
fi

# What is well goes without saying.
code=0
found=$("$node" check --mount -o table) || code=$?
echo "$found" | grep -v '^ok ' | sed -n '2,$s/^/check: /p'
# A unit does not try again where run itself ends with usage (2).
if [ "$code" -eq 2 ] && [ -n "${INVOCATION_ID-}" ]; then exit 0; fi
[ "$code" -eq 0 ] || exit "$code"
say "this host is ready"
