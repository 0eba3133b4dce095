#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Tests of what `make install`, `make deb` and `make dist` give: on a root of their
# own over this host's (an overlay, with dpkg's real database), in namespaces of
# their own, so that nothing of it reaches this host; and the arm64 binary on an
# arm64 kernel under emulation.
#
# usage: run.sh [SUITE…]      man, completion, version, size, install, deb, dist, arm64
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
here=$top/test/package
export top here
# shellcheck source=test/package/lib.sh
. "$here/lib.sh"
[ "$(id -u)" -eq 0 ] || {
	echo "test-package: not root: run 'sudo make test-package'" >&2
	exit 1
}
[ $# -gt 0 ] || set -- man completion version size install deb dist arm64

tmp=$(mktemp -d)
export tmp
group=''
trap '[ -z "$group" ] || end_group; rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"${MAKE:-make}" -C "$top" -s all share demo

# start_group makes the cgroup that the data plane is attached to in place of the
# host's: the tests' processes see it as the root.
start_group() {
	cgroup2=$(awk '$3 == "cgroup2" && !seen++ { print $2 }' /proc/self/mounts)
	if [ -z "$cgroup2" ]; then
		cgroup2=$tmp/cgroup2
		mkdir "$cgroup2"
		mount -t cgroup2 none "$cgroup2"
	fi
	group=$(mktemp -d "$cgroup2/kmesh-package-XXXXXX")
}

# end_group ends all that a test left running.
end_group() {
	echo 1 >"$group/cgroup.kill" 2>/dev/null || :
	until rmdir "$group"; do sleep 0.1; done
	group=''
	if [ "$cgroup2" = "$tmp/cgroup2" ]; then
		umount "$cgroup2"
		rmdir "$cgroup2"
	fi
}

# private SUITE: its tests on a root of their own.
private() {
	start_group
	mkdir "$tmp/over"
	rc=0
	GROUP=$group unshare --mount --propagation private --net --ipc --uts --pid --fork --kill-child \
		"$here/root.sh" "$tmp/over" "$here/$1.sh" || rc=$?
	end_group
	rmdir "$tmp/over"
	return "$rc"
}

failed=0
for suite; do
	case $suite in
	install | deb) private "$suite" ;;
	man | completion | version | size | dist | arm64) "$here/$suite.sh" ;;
	*)
		echo "test-package: no suite $suite" >&2
		exit 2
		;;
	esac || failed=1
done
exit "$failed"
