#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Put one of Debian's kernels, and those of its modules that the tests need, into
# the cache, from the mirrors that this host's apt is set up for. What is in the
# cache stays as it is: remove a directory there to have its kernel looked for anew.
#
# usage: fetch.sh CACHE NAME SUITE FLAVOUR SERIES
# CACHE/NAME gets `vmlinuz`, `release` (uname -r) and `mod/NN-NAME.ko`, numbered
# in the order in which they can be loaded. FLAVOUR is cloud or rt; of SUITE's
# kernels the newest one of SERIES counts (6.12, or `any`).
set -eu

cache=${1:?} name=${2:?} suite=${3:?} flavour=${4:?} series=${5:?}
top=$(cd "$(dirname "$0")/../.." && pwd)
# In the order of loading. What a kernel has built in has no file.
modules='llc stp bridge veth sch_ingress cls_bpf'

[ ! -f "$cache/$name/release" ] || exit 0

say() { echo "vm: $*" >&2; }

die() {
	say "$*"
	exit 1
}

for tool in apt-get dpkg-deb xz; do
	command -v "$tool" >/dev/null || die "no $tool: Debian's kernels cannot be had here"
done

mkdir -p "$cache"
new=$(mktemp -d "$cache/$name.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM

# The state is private to this one use, so that two can be fetched at once.
state=$new/apt
# apt warns of each source that the host and SUITE have in common.
quietly() {
	"$@" 2>"$new/log" || {
		cat "$new/log" >&2
		return 1
	}
}
quietly "$top/scripts/apt-private.sh" "$state" "$suite" deb
echo 'Acquire::Check-Valid-Until "false";' >>"$state/apt.conf"
export APT_CONFIG="$state/apt.conf"

# release: what the newest package of the series, in any of the suites that are
# in sight, depends on: linux-image-RELEASE.
release() {
	quietly apt-cache show "linux-image-$flavour-amd64" | awk -v series="$series" '
		/^Version:/ { version = $2 }
		/^Depends:/ && match($0, /linux-image-[0-9][^ ,]*/) {
			r = substr($0, RSTART + 12, RLENGTH - 12)
			if (series == "any" || index(r, series ".") == 1) print version, r
		}' | sort -V | awk 'END { print $2 }'
}

release=$(release)
[ -n "$release" ] || die "$suite has no linux-image-$flavour-amd64 of Linux $series"

# From 6.19 on an image is in parts: what boots, and the modules.
packages=
for part in image binary modules; do
	if apt-cache show "linux-$part-$release" >/dev/null 2>&1; then packages="$packages linux-$part-$release"; fi
done
say "fetching$packages of Debian $suite"
mkdir "$new/deb"
# shellcheck disable=SC2086 # a list of names
(cd "$new/deb" && quietly apt-get -qq download $packages) || die "cannot download$packages"

for deb in "$new"/deb/*.deb; do
	dpkg-deb -x "$deb" "$new/root"
done

# found PATTERN: the one file of that name.
found() { find "$new/root" -type f -name "$1" | head -n 1; }

mkdir "$new/out" "$new/out/mod"
cp "$(found 'vmlinuz*')" "$new/out/vmlinuz"
n=10
for m in $modules; do
	file=$(found "$m.ko*")
	case "$file" in
	'') continue ;;
	*.xz) xz -dc "$file" >"$new/out/mod/$n-$m.ko" ;;
	*) cp "$file" "$new/out/mod/$n-$m.ko" ;;
	esac
	n=$((n + 1))
done
# Last, so that what is there is whole.
echo "$release" >"$new/out/release"
rm -rf "${cache:?}/$name"
mv "$new/out" "$cache/$name"
say "$name is Linux $release"
