#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Versions of packages out of what git says.
set -eu

# shellcheck source=test/package/lib.sh
. "${here:?}/lib.sh"

version() { "${top:?}/scripts/version.sh" "$@"; }

they_are_ordered_as_git_orders_them() {
	last='0~~'
	for v in "$(version 118eff1 1000000000)" "$(version 99eff1a 1000000001)" "$(version v0.1.0-rc1 9)" \
		"$(version v0.1.0-rc1-2-gabcdef0 9)" "$(version v0.1.0-rc2 9)" "$(version v0.1.0 9)" "$(version v0.1.0-1-gabcdef0 9)" \
		"$(version v0.1.0-12-g0bcdef0 9)" "$(version v0.1.0-12-g0bcdef0-dirty 9)" "$(version v0.1.1 9)" "$(version v0.10.0 9)"; do
		dpkg --validate-version "$v"
		dpkg --compare-versions "$last" lt "$v" || fail "$last is not less than $v"
		last=$v
	done
}

what_git_cannot_tell_is_a_version_too() {
	dpkg --validate-version "$(version unknown 0)"
	dpkg --validate-version "$(version odd/tag_name 0)"
}

run_tests they_are_ordered_as_git_orders_them what_git_cannot_tell_is_a_version_too
