#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Make a root file system with the systemd of a Debian suite, and what the tests
# need beside it: unpacked packages, none of whose scripts has run.
#
# usage: tree.sh SUITE DIR
set -eu

suite=${1:?usage: tree.sh SUITE DIR} dir=${2:?usage: tree.sh SUITE DIR}
top=$(cd "$(dirname "$0")/../.." && pwd)
packages='systemd base-files base-passwd bash bpftool coreutils dash debianutils diffutils dpkg findutils
	grep gzip hostname iproute2 libc-bin mawk mount procps sed tar util-linux'

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The host's mirrors, but nothing of what the host has or wants.
"$top/scripts/apt-private.sh" "$work" "$suite" deb
grep " $suite main\$" "$work/sources.list" | grep signed-by >"$work/only.list"
mkdir -p "$work/only/partial" "$dir/archives/partial"
cat >"$work/apt.conf" <<END
Dir::Etc::sourcelist "$work/only.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$work/only";
Dir::State::status "/dev/null";
Dir::Cache "$work/cache";
Dir::Cache::archives "$dir/archives";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Check-Valid-Until "false";
END
export APT_CONFIG="$work/apt.conf"
apt-get -qq update
# shellcheck disable=SC2086 # a list of names
apt-get -qq -y --download-only install $packages

root=$work/root
for name in bin sbin lib lib64; do
	mkdir -p "$root/usr/$name"
	ln -s "usr/$name" "$root/$name"
done
for file in "$dir"/archives/*.deb; do
	dpkg-deb --fsys-tarfile "$file" | tar -x -C "$root" --keep-directory-symlink
done
cp /etc/passwd /etc/group "$root/etc/"
: >"$root/etc/machine-id"
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates"
: >"$root/var/lib/dpkg/status"
# Links that packages make as they are installed.
[ -e "$root/usr/bin/awk" ] || ln -s mawk "$root/usr/bin/awk"
[ -e "$root/usr/bin/sh" ] || ln -s dash "$root/usr/bin/sh"
rm -rf "$dir/root"
mv "$root" "$dir/root"
chroot "$dir/root" /usr/bin/systemctl --version | head -n 1
