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

# process_of ID: a process whose cgroup has ID in its name. systemd's driver for
# cgroups writes the dashes of a pod's UID as underscores.
process_of() {
	other=$(echo "$1" | tr '-' '_')
	for file in /proc/[0-9]*/cgroup; do
		# A process may end while it is looked at.
		if grep -q -F -e "$1" -e "$other" "$file" 2>/dev/null; then
			pid=${file#/proc/}
			echo "${pid%/cgroup}"
			return
		fi
	done
	die 14 "$1: no process with it in the name of its cgroup"
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
		pid=$(process_of "${target#*:}")
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
