#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Get the static libraries and headers of another architecture that kmesh-node is
# linked with, as Debian packages of this host's release, unpacked in DIR: nothing
# is installed, and what dpkg and apt know of this host stays as it is. The C
# library comes with the cross compiler.
#
# usage: sysroot.sh ARCH DIR
set -eu

packages='libelf-dev zlib1g-dev libprotobuf-c-dev libzstd-dev'

arch=${1:?usage: sysroot.sh ARCH DIR} dir=${2:?usage: sysroot.sh ARCH DIR}
top=$(cd "$(dirname "$0")/.." && pwd)
if [ -e "$dir/.complete" ]; then exit 0; fi

die() {
	echo "sysroot: $*" >&2
	exit 1
}

for tool in apt-get dpkg-deb; do
	command -v "$tool" >/dev/null || die "no $tool here: a build for $arch needs a Debian host, or one that is $arch"
done
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
[ -n "$codename" ] || die "/etc/os-release does not name a Debian release (VERSION_CODENAME)"

rm -rf "$dir"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
trap 'rm -rf "$dir/apt" "$dir/deb"' EXIT
echo "sysroot: fetching $packages of Debian $codename for $arch" >&2
"$top/scripts/apt-private.sh" "$dir/apt" "$codename" deb "$arch"
mkdir "$dir/deb"
# shellcheck disable=SC2086 # a list of names
(cd "$dir/deb" && APT_CONFIG=$dir/apt/apt.conf apt-get -qq download $packages) >&2 || die "not all of $packages can be had for $arch"
for deb in "$dir"/deb/*.deb; do dpkg-deb -x "$deb" "$dir"; done
touch "$dir/.complete"
