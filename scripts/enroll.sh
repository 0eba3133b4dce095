#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Take pods under management, or release them, by what a host's script has at hand.
# All or nothing: where one fails, those that this call enrolled are released again.
#
# usage: enroll [--undo] [--wait SECONDS] TARGET…
# TARGET: PID                          a process of the pod
#         NAME                         a network namespace under /run/netns
#         /PATH                        one by its path
#         container:ID, pod:UID        any process whose cgroup names it: no
#                                      container runtime is asked
# --wait  first wait until kmesh-node is ready
# exit: as kmesh-node; 14 where a target is not there
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"

verb=enroll
while [ $# -gt 0 ]; do
	case $1 in
	--undo) verb=unenroll ;;
	--wait)
		[ $# -gt 1 ] || die 2 "--wait needs a number of seconds"
		wait_ready=$here/wait-ready
		[ -x "$wait_ready" ] || wait_ready=$wait_ready.sh
		"$wait_ready" --timeout "$2" || exit
		shift
		;;
	--)
		shift
		break
		;;
	-*) die 2 "$1: unknown; usage: $me [--undo] [--wait SECONDS] TARGET…" ;;
	*) break ;;
	esac
	shift
done
[ $# -gt 0 ] || die 2 "which pod? usage: $me [--undo] [--wait SECONDS] TARGET…"
need_root
find_node

# process_of KIND:ID: a process whose cgroup names it: the whole UID of a pod, of which
# systemd's driver for cgroups writes the dashes as underscores, or 12 characters of a
# container's ID at least.
process_of() {
	id=${1#*:} front='/(.*[^0-9A-Za-z_])?' end='([^0-9A-Za-z_-]|$)'
	case $1 in
	*:*[!0-9A-Za-z._-]*) die 2 "$1: not the ID of a container or the UID of a pod" ;;
	pod:*) front='/(.*/|.*-)?pod' ;;
	container:????????????*) end='' ;;
	esac
	id=$(echo "$id" | sed 's/[.]/\\./g')
	name="$front($id|$(echo "$id" | tr '-' '_'))$end" process='' netns=''
	for file in /proc/[0-9]*/cgroup; do
		# A process may end while it is looked at.
		if ! grep -q -E "$name" "$file" 2>/dev/null; then continue; fi
		found=$(readlink "${file%cgroup}ns/net" 2>/dev/null) || continue
		[ "${netns:=$found}" = "$found" ] || die 2 "$1: processes of several network namespaces have it in the name of their cgroup: name one by its PID"
		process=${file#/proc/} process=${process%/cgroup}
	done
	[ -n "$process" ] || die 14 "$1: no process with it in the name of its cgroup"
	echo "$process"
}

done=
failed() {
	for cookie in $done; do
		if "$node" unenroll --cookie "$cookie" >/dev/null; then say "released again: network namespace $cookie"; fi
	done
}
trap '[ $? -eq 0 ] || failed' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

before=$("$node" get enrolled -o json)
for target; do
	case $target in
	container:?* | pod:?*)
		pid=$(process_of "$target")
		set -- --pid "$pid"
		;;
	*[!0-9]*) set -- --netns "$target" ;;
	*) set -- --pid "$target" ;;
	esac
	said=$("$node" "$verb" "$@")
	say "$target: $said"
	cookie=${said##* }
	if [ "$verb" = enroll ] && ! echo "$before" | grep -q "\"cookie\": *$cookie\b"; then done="$done $cookie"; fi
done
