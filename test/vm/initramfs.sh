#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Make the file system of a virtual machine, as an initramfs that is not
# compressed, as emulation is slow: the static binaries of build/, this host's ip
# and bpftool with their libraries, busybox, and init. What differs between
# machines, boot.sh adds.
#
# usage: initramfs.sh OUT
set -eu

out=${1:?}
top=$(cd "$(dirname "$0")/../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
trap 'exit 1' HUP INT TERM

# take FILE TO: a program and the libraries that it is linked with.
take() {
	mkdir -p "$tree/$(dirname "$2")"
	cp -L "$1" "$tree/$2"
	for lib in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
		mkdir -p "$tree/$(dirname "$lib")"
		cp -Ln "$lib" "$tree/$lib"
	done
}

take "$(command -v busybox)" bin/busybox
take "$(command -v ip)" usr/sbin/ip
take "$(command -v bpftool)" usr/sbin/bpftool
take "$top/build/kmesh-node" repo/build/kmesh-node
take "$top/build/test/e2e" repo/build/test/e2e
mkdir -p "$tree/repo/test/e2e"
cp -r "$top/example" "$tree/repo/"
cp "$top/test/vm/init.sh" "$tree/init"
chmod 755 "$tree/init"
(cd "$tree" && find . | cpio -o -H newc --quiet) >"$out.new"
mv "$out.new" "$out"
