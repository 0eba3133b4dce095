# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
#
# What the suites share.

# run_tests NAME…: each in a shell of its own; what it says is shown where it fails.
run_tests() {
	bad=0
	for name; do
		rc=0
		# Not in a condition, where `set -e` has no effect.
		set +e
		(
			set -eu
			"$name"
		) >"${tmp:?}/said" 2>&1
		rc=$?
		set -e
		if [ "$rc" -eq 0 ]; then
			echo "--- PASS: $name"
		else
			sed 's/^/    /' "$tmp/said"
			echo "--- FAIL: $name (exit code $rc)"
			bad=1
		fi
	done
	return "$bad"
}

# fail TEXT…: ends the test.
fail() {
	echo "$*"
	exit 1
}

# same WHAT WANT GOT: fails where two texts differ.
same() {
	[ "$2" = "$3" ] && return
	printf '%s' "$2" >"$tmp/want"
	printf '%s' "$3" >"$tmp/got"
	diff -u "$tmp/want" "$tmp/got" || :
	fail "$1 differs"
}

# has FILE TEXT, has_not FILE TEXT
has() { grep -q -F -e "$2" "$1" || fail "no \"$2\" in $1: $(cat "$1")"; }
has_not() { ! grep -F -e "$2" "$1" || fail "\"$2\" in $1"; }

# tree DIR: all that is in it, with modes and contents.
tree() {
	(cd "$1" && find . -printf '%M %U %G %l %p\n' | LC_ALL=C sort -k 5 &&
		find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum)
}

# not_of_host takes the directories out of a tree that the host has too: an overlay
# copies them for what is made in them.
not_of_host() {
	while read -r line; do
		case $line in
		d*) [ ! -d "/tmp/lower/${line##* ./}" ] || continue ;;
		esac
		echo "$line"
	done
}
