#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Make a Debian package of what install.sh installs, with the scripts in debian/
# for the data plane: an upgrade keeps it up, a removal takes it down.
#
# usage: deb.sh ARCH BINARY SHARE VERSION FILE      with SOURCE_DATE_EPOCH set
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
arch=${1:?} binary=${2:?} share=${3:?} version=${4:?} file=${5:?}
: "${SOURCE_DATE_EPOCH:?}"

command -v dpkg-deb >/dev/null || {
	echo "deb: no dpkg-deb here: make the package on a Debian host, or install from the archive of 'make dist'" >&2
	exit 1
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
root=$tmp/root
"$top/scripts/install.sh" --package --destdir "$root" --zsh-dir vendor-completions --binary "$binary" --share "$share" >/dev/null

doc=$root/usr/share/doc/kmesh-node
mkdir -p "$doc" "$root/DEBIAN"
cp "$top/packaging/debian/copyright" "$doc/copyright"
cat >"$tmp/changelog" <<END
kmesh-node ($version) unstable; urgency=medium

  * Built from commit $(sed -n 2p "$top/build/version").

 -- The kmesh-node authors <kmesh-node@localhost>  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
END
gzip -9n <"$tmp/changelog" >"$doc/changelog.gz"

size=$(du -k -s --apparent-size --exclude=DEBIAN "$root" | cut -f 1)
sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" "$top/packaging/debian/control.in" >"$root/DEBIAN/control"
(cd "$root" && find etc -type f | sed 's,^,/,') >"$root/DEBIAN/conffiles"
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
for script in postinst prerm postrm; do install -m 755 "$top/packaging/debian/$script.sh" "$root/DEBIAN/$script"; done
chmod -R u=rwX,go=rX "$root"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Z"${DEB_COMPRESS:-xz}" --build "$root" "$file.new" >/dev/null
mv "$file.new" "$file"
echo "deb: $file"
