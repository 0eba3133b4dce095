#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The archives of `make dist`.
set -eu

# shellcheck source=test/package/lib.sh
. "${here:?}/lib.sh"
dist=${top:?}/build/dist

both_are_made_with_their_sums() {
	"${MAKE:-make}" -C "$top" -s dist
	(cd "$dist" && sha256sum --check --strict SHA256SUMS)
	same archives 2 "$(wc -l <"$dist/SHA256SUMS")"
	for arch in amd64 arm64; do
		set -- "$dist"/kmesh-node-*-linux-"$arch".tar.gz
		same "archives for $arch" 1 "$#"
		mkdir -p "${tmp:?}/$arch"
		tar -xzf "$1" -C "$tmp/$arch" --strip-components=1
	done
}

binaries_are_static_and_of_their_architecture() {
	for arch in amd64:X86-64 arm64:AArch64; do
		readelf -h -l "$tmp/${arch%:*}/kmesh-node" >"$tmp/elf"
		has "$tmp/elf" "${arch#*:}"
		has_not "$tmp/elf" INTERP
	done
}

packed_again_they_are_the_same_bytes() {
	set -- "$dist"/*-amd64.tar.gz
	name=${1##*/}
	(umask 077 && TZ=Asia/Tokyo SOURCE_DATE_EPOCH=$(stat -c %Y "$tmp/amd64/LICENSE") "$top/packaging/archive.sh" \
		"$tmp/amd64/kmesh-node" "$tmp/amd64/share" "${name%.tar.gz}" "$tmp/again")
	cmp "$1" "$tmp/again/$name"
}

an_archive_installs_what_make_install_does() {
	"${MAKE:-make}" -C "$top" -s install DESTDIR="$tmp/make"
	(cd / && "$tmp/amd64/install.sh" --destdir "$tmp/archive")
	same "installed files" "$(tree "$tmp/make")" "$(tree "$tmp/archive")"
	# That of another architecture has its page and completions with it.
	"$tmp/arm64/install.sh" --destdir "$tmp/other"
	same "names" "$(cd "$tmp/make" && find . | sort)" "$(cd "$tmp/other" && find . | sort)"
	"$tmp/amd64/uninstall.sh" --destdir "$tmp/archive"
	same "what is left" "" "$(find "$tmp/archive" -mindepth 1)"
	"${MAKE:-make}" -C "$top" -s uninstall DESTDIR="$tmp/make"
	same "what is left" "" "$(find "$tmp/make" -mindepth 1)"
}

run_tests both_are_made_with_their_sums binaries_are_static_and_of_their_architecture packed_again_they_are_the_same_bytes \
	an_archive_installs_what_make_install_does
