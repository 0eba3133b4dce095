#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Pack what install.sh needs into DIR/NAME.tar.gz: the same files give the same
# bytes, whoever packs them and when.
#
# usage: archive.sh BINARY SHARE NAME DIR      with SOURCE_DATE_EPOCH set
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
binary=${1:?} share=${2:?} name=${3:?} dir=${4:?}
: "${SOURCE_DATE_EPOCH:?}"

mkdir -p "$dir"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp" "$dir/$name.tar.gz.new"' EXIT
root=$tmp/$name
install -d -m 755 "$root" "$root/share"
install -m 755 "$binary" "$root/kmesh-node"
for script in install uninstall start-pre stop-post wait-ready enroll refresh-cni; do
	install -m 755 "$top/scripts/$script.sh" "$root/$script.sh"
done
install -m 644 "$top/scripts/common.sh" "$top/scripts/kmesh-node.service" "$top/scripts/kmesh-node.default" \
	"$top/LICENSE" "$top/README.md" "$root/"
cp -r "$top/LICENSES" "$root/LICENSES"
install -m 644 "$share"/kmesh-node.* "$root/share/"
chmod -R u=rwX,go=rX "$root"
tar -C "$tmp" --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - "$name" |
	gzip -9n >"$dir/$name.tar.gz.new"
mv "$dir/$name.tar.gz.new" "$dir/$name.tar.gz"
echo "archive: $dir/$name.tar.gz"
