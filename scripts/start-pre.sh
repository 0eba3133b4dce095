#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Make the host ready for kmesh-node: bpffs and cgroup2 mounted, in the mount
# namespace of the host's first process, so that they outlive whoever runs this;
# modules that it needs; then kmesh-node's own check, whose exit code is this
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

# undo: what to take back, the last first, one "umount PATH" or "rmdir PATH" a line.
undo=
failed() {
	echo "$undo" | while IFS= read -r line; do
		case $line in
		"umount "*) umount "${line#umount }" && say "unmounted ${line#umount }" ;;
		"rmdir "*) rmdir "${line#rmdir }" ;;
		esac
	done
}
push() {
	undo="$1
$undo"
}
trap '[ $? -eq 0 ] || failed' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# type_of PATH: the type of the file system that PATH is on, as the kernel numbers it.
type_of() { stat -f -c %t -- "$1"; }

# mounted_at PATH: is it a mount point?
mounted_at() { awk -v p="$1" '$5 == p { found = 1 } END { exit !found }' /proc/self/mountinfo; }

# cgroup2_options: cgroup2 has one set of options for the whole host, and a mount
# that does not name them turns them off.
cgroup2_options() {
	awk '{ for (i = 7; $i != "-"; i++); if ($(i + 1) == "cgroup2") options = $(i + 3) } END { print options }' /proc/self/mountinfo |
		tr ',' '\n' |
		grep -x -e nsdelegate -e favordynmods -e memory_localevents -e memory_recursiveprot \
			-e memory_hugetlb_accounting -e pids_localevents | paste -s -d, - || :
}

# mount_missing TYPE PATH NUMBER FLAG OPTIONS: as kmesh-node itself does it, and
# so that `kmesh-node down` finds its own: by the source, whose number is that of the
# directories made for it.
mount_missing() {
	type=$1 path=$2
	case $path in
	/*) ;;
	*) die 10 "$path: not an absolute path: give $4 one" ;;
	esac
	if [ -e "$path" ]; then
		[ -d "$path" ] || die 10 "$path: not a directory: remove that file, or give $4 another path"
		found=$(type_of "$path")
		if [ "$found" = "$3" ]; then
			say "$type is at $path"
			return
		fi
		[ "$found" != 27e0eb ] || die 10 "$path: cgroup v1 is mounted there: give $4 a path of cgroup2, or one that does not exist"
		if mounted_at "$path"; then die 10 "$path: another file system is mounted there: unmount it, or give $4 another path"; fi
	fi
	made=0 missing=
	dir=$path
	until [ -e "$dir" ]; do
		missing="$dir
$missing"
		dir=$(dirname "$dir")
	done
	while IFS= read -r dir; do
		[ -n "$dir" ] || continue
		mkdir -- "$dir"
		push "rmdir $dir"
		made=$((made + 1))
	done <<END
$missing
END
	source=kmesh-node
	[ "$made" -eq 0 ] || source=kmesh-node+$made
	mount -t "$type" -o "nosuid,nodev,noexec,relatime${5:+,$5}" "$source" "$path" || die 10 "$path: cannot mount $type there"
	push "umount $path"
	say "mounted $type at $path"
}

mount_missing bpf "${KMESH_NODE_BPF_FS_PATH:-/sys/fs/bpf}" cafe4a11 KMESH_NODE_BPF_FS_PATH mode=0700
mount_missing cgroup2 "${KMESH_NODE_CGROUP2_PATH:-/mnt/kmesh_cgroup2}" 63677270 KMESH_NODE_CGROUP2_PATH "$(cgroup2_options)"

# veth: for the self-test, and for pods. It may be built in, or be loaded by the
# kernel itself when it is first asked for: so it is no error where it cannot be.
if [ ! -d /sys/module/veth ] && command -v modprobe >/dev/null && modprobe -q veth && [ -d /sys/module/veth ]; then
	say "loaded module veth"
fi

# What is well goes without saying.
code=0
found=$("$node" check) || code=$?
echo "$found" | grep -v '^ok ' | sed -n '2,$s/^/check: /p'
# A unit does not try again where run itself ends with usage (2).
if [ "$code" -eq 2 ] && [ -n "${INVOCATION_ID-}" ]; then exit 0; fi
[ "$code" -eq 0 ] || exit "$code"
say "this host is ready"
