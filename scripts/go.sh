#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Print the path of a Go command that can build this module: one that fetches
# the toolchain that go.mod names by itself, so 1.21 or later. sudo's PATH has
# not always the place where Go was unpacked, and a distribution's first `go`
# may be too old; hence the further places. Nothing is printed where none is.
set -eu

usable() {
	[ -x "$1" ] || return 1
	# go1.26.8 -> 26; in / and local, so that no toolchain is fetched here
	minor=$(cd / && GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
	minor=${minor#go1.}
	minor=${minor%%[!0-9]*}
	[ -n "$minor" ] && [ "$minor" -ge 21 ]
}

newest() { find /usr/lib -maxdepth 3 -path '/usr/lib/go-1.*/bin/go' 2>/dev/null | sort -rV; }

# shellcheck disable=SC2046 # paths of a distribution hold no blanks
for go in "$(command -v go || :)" /usr/local/go/bin/go $(newest) \
	"${HOME:-/root}/go/bin/go" /usr/local/bin/go /snap/bin/go; do
	if usable "$go"; then
		echo "$go"
		exit
	fi
done
exit 1
