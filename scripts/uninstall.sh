#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Take away what install.sh put there, and nothing else: it goes by the list that
# install.sh wrote. The unit is stopped and the data plane is taken down first.
# Again: says that there is nothing, and exits 0.
#
# usage: uninstall.sh [--keep] [--purge] [--prefix DIR] [--destdir DIR]
#   --keep   the data plane stays up; `kmesh-node down` of another copy ends it
#   --purge  settings that were changed go too; /etc/kmesh-node goes when it is empty
#            in any case, and stays when it is not
set -eu

here=$(cd "$(dirname "$0")" && pwd)
prefix=/usr destdir='' keep='' purge=''
# Installed, it lies in what it takes away.
case $here in
*/lib/kmesh-node) prefix=${here%/lib/kmesh-node} ;;
esac
# shellcheck source=scripts/common.sh
. "$here/common.sh"

while [ $# -gt 0 ]; do
	case $1 in
	--keep) keep=yes ;;
	--purge) purge=yes ;;
	--prefix | --destdir)
		[ $# -gt 1 ] || die 2 "$1 needs a value"
		if [ "$1" = --prefix ]; then prefix=${2%/}; else destdir=$2; fi
		shift
		;;
	*) die 2 "$1: unknown; usage: $me [--keep] [--purge] [--prefix DIR] [--destdir DIR]" ;;
	esac
	shift
done
list=$destdir$prefix/lib/kmesh-node/installed
if [ ! -f "$list" ]; then
	if [ -z "$destdir" ] && dpkg-query -S "$prefix/sbin/kmesh-node" >/dev/null 2>&1; then
		die 10 "$prefix/sbin/kmesh-node is of a Debian package: remove that with dpkg"
	fi
	say "nothing is installed here ($list is not there)"
	exit 0
fi

if [ -z "$destdir" ]; then
	need_root
	if [ -d /run/systemd/system ] && systemctl cat kmesh-node >/dev/null 2>&1; then
		say "stopping the unit"
		systemctl disable --now kmesh-node
	fi
	if [ -n "$keep" ]; then
		say "the data plane stays as it is"
	elif [ -x "$prefix/sbin/kmesh-node" ]; then
		uninstall_plugin "$prefix/sbin/kmesh-node" || die $? "the CNI plugin could not be uninstalled: nothing was removed; see above, or use --keep"
		"$prefix/sbin/kmesh-node" down || die $? "the data plane could not be taken down: nothing was removed; see above, or use --keep"
		rm -rf /run/kmesh-node
	fi
fi

tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
cp "$list" "$tmp"
while read -r type path sum; do
	file=$destdir$path
	# What a killed install.sh left.
	rm -f "$file.kmesh-new" "$file.kmesh-old"
	[ -f "$file" ] || continue
	case $type in
	f) ;;
	c)
		if [ -z "$purge" ] && [ "$(sha256sum <"$file" | cut -d ' ' -f 1)" != "$sum" ]; then
			say "$file stays, as it was changed (--purge removes it)"
			continue
		fi
		;;
	*) continue ;;
	esac
	rm -f "$file"
	say "removed $file"
done <"$tmp"
rm -f "$list"
awk '$1 == "d" { print $2 }' "$tmp" | sort -r | while read -r dir; do
	[ -d "$destdir$dir" ] || continue
	if rmdir "$destdir$dir" 2>/dev/null; then continue; fi
	case $dir in
	*/kmesh-node) say "$destdir$dir stays: it is not empty" ;;
	esac
done
if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
