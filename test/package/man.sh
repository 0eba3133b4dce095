#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The manual page, as it is installed.
set -eu

# shellcheck source=test/package/lib.sh
. "${here:?}/lib.sh"
page=${top:?}/build/share/kmesh-node.8

mandoc_finds_nothing_to_say() {
	mandoc -T lint -W style "$page" | grep -v 'lacks .* entry' >"$tmp/lint" || :
	[ ! -s "$tmp/lint" ] || fail "$(cat "$tmp/lint")"
}

groff_finds_nothing_to_say() {
	said=$(man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
	[ -z "$said" ] || fail "$said"
}

man_finds_it_by_name() {
	"$top/scripts/install.sh" --destdir "$tmp/man" --share "$top/build/share"
	man -M "$tmp/man/usr/share/man" kmesh-node | col -b >"$tmp/text"
	for word in kmesh-node NAME COMMANDS KMESH_NODE_MODE '--mode' 'EXIT STATUS' /etc/default/kmesh-node; do has "$tmp/text" "$word"; done
}

the_same_sources_give_the_same_page() {
	a=$(SOURCE_DATE_EPOCH=0 "$top/build/kmesh-node" man | sha256sum)
	b=$(TZ=Asia/Tokyo SOURCE_DATE_EPOCH=0 "$top/build/kmesh-node" man | sha256sum)
	same page "$a" "$b"
}

run_tests mandoc_finds_nothing_to_say groff_finds_nothing_to_say man_finds_it_by_name the_same_sources_give_the_same_page
