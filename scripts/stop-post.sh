#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What happens to the data plane when the unit has stopped. By default it is kept:
# connections go on to be redirected, and the next start finds it as it was. With
# KMESH_NODE_ON_STOP=down it is taken down, but only where somebody asked the
# service to stop: not where it is about to start again, by a restart, an upgrade or
# after a failure, as connections would be missed in between.
#
# usage: stop-post
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/common.sh"

[ $# -eq 0 ] || die 2 "takes no argument: settings are in $defaults"

case ${KMESH_NODE_ON_STOP:-keep} in
keep)
	say "the data plane stays (KMESH_NODE_ON_STOP=down takes it down)"
	exit 0
	;;
down) ;;
*) die 2 "KMESH_NODE_ON_STOP=$KMESH_NODE_ON_STOP: it is keep or down" ;;
esac

# Only systemd sets these, for what runs behind its service.
if [ "${SERVICE_RESULT:-success}" != success ]; then
	say "the data plane stays: the service failed ($SERVICE_RESULT), and may start again"
	exit 0
fi
unit=${KMESH_NODE_UNIT:-kmesh-node.service}
if [ -n "${SERVICE_RESULT-}" ] &&
	systemctl list-jobs --no-legend "$unit" | awk -v unit="$unit" '$2 == unit && $3 != "stop" { other = 1 } END { exit !other }'; then
	say "the data plane stays: the service starts again"
	exit 0
fi
need_root
find_node
"$node" down
