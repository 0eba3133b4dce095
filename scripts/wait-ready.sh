#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Wait until kmesh-node is ready: its unit where it runs as one, else its data
# plane, as `kmesh-node status` sees it. For units and scripts that start pods.
#
# usage: wait-ready [--timeout SECONDS] [--unit UNIT]
# exit: 0 ready, 2 usage, 14 not ready in time (60 s), or its unit has failed
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"

timeout=60 unit=kmesh-node.service
while [ $# -gt 0 ]; do
	case $1 in
	--timeout | --unit) [ $# -gt 1 ] || die 2 "$1 needs a value" ;;
	esac
	case $1 in
	--timeout) timeout=$2 && shift ;;
	--timeout=*) timeout=${1#*=} ;;
	--unit) unit=$2 && shift ;;
	--unit=*) unit=${1#*=} ;;
	*) die 2 "$1: unknown; usage: $me [--timeout SECONDS] [--unit UNIT]" ;;
	esac
	shift
done
case $timeout in
'' | *[!0-9]*) die 2 "--timeout $timeout: not a number of seconds" ;;
esac

# uptime does not jump as the clock does.
now() {
	read -r uptime _ </proc/uptime
	echo "${uptime%%.*}"
}

# A fraction of a second is no matter of course for sleep.
pause() { sleep 0.2 2>/dev/null || sleep 1; }

# state sets $state: ready, starting, failed or none (no unit of that name runs).
state() {
	state=none
	[ -d /run/systemd/system ] || return 0
	active=$(systemctl show -p ActiveState "$unit") || return 0
	case ${active#*=} in
	# It was ready once, and is: systemd says so only after READY=1.
	active | reloading) state=ready ;;
	activating | deactivating) state=starting ;;
	failed) state=failed ;;
	esac
	# Before its turn in a boot, it has a job.
	if [ "$state" = none ] && [ -n "$(systemctl list-jobs --no-legend "$unit")" ]; then state=starting; fi
}

find_node
end=$(($(now) + timeout))
while :; do
	state
	case $state in
	ready)
		say "$unit is ready"
		exit 0
		;;
	failed) die 14 "$unit has failed; see: systemctl status $unit" ;;
	none)
		if "$node" status >/dev/null 2>&1; then
			say "the data plane is up"
			exit 0
		fi
		;;
	esac
	[ "$(now)" -lt "$end" ] || break
	pause
done
if [ "$state" = none ]; then "$node" status >/dev/null || :; fi
die 14 "not ready after $timeout s${state:+ ($unit: $state)}"
