#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# All linters over all of our own files. `make lint` calls it with GO, GOFLAGS,
# C_FLAGS and BUILD (the output folder) set.
#
# usage: lint.sh [NAME…]      only those
set -eu

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2

cd "$(dirname "$0")/.."
: "${GO:=go}" "${C_FLAGS:=}" "${BUILD:=$PWD/build}"

# files PATTERN…: our own files whose names match one, generated ones and test
# data left out. No name has a blank in it.
files() {
	for pattern; do
		find . \( -path ./build -o -path ./libbpf -o -path ./.git -o -name testdata -o -name corpus \) \
			-prune -o -type f -name "$pattern" ! -name '*.pb.go' -print
	done | sort
}

# one_of NAME…: the first command of these that is there.
one_of() {
	for name; do
		if command -v "$name"; then return; fi
	done
	echo "lint: none of $* is here: run scripts/deps.sh test" >&2
	return 1
}

# silent CMD…: fails when CMD says anything.
silent() {
	said=$("$@" 2>&1) && [ -z "$said" ] && return
	echo "$said"
	return 1
}

# The committed Go is what the .proto files give, the generators' versions apart.
generated() {
	rm -rf "$BUILD/proto-check" && cp -r proto "$BUILD/proto-check" || return
	# shellcheck disable=SC2046 # a list of names
	PATH=$BUILD/bin:$PATH protoc -Iproto --go_out="$BUILD/proto-check" --go_opt=paths=source_relative \
		$(cd proto && find . -name '*.proto' | sed 's,^\./,,') || return
	diff -r -I '^// ' "$BUILD/proto-check" proto
}

# shellcheck disable=SC2046,SC2086 # lists of names and of flags
lint() {
	case "$1" in
	gofmt) silent "$("$GO" env GOROOT)/bin/gofmt" -l $(files '*.go') ;;
	vet) "$GO" vet ./... ;;
	staticcheck) "$GO" run "$staticcheck" -tags netgo,osusergo ./... ;;
	mod) "$GO" mod tidy -diff ;;
	clang-format) "$(one_of clang-format-19 clang-format)" --dry-run --Werror $(files '*.c' '*.h') ;;
	# The checks are in .clang-tidy.
	clang-tidy) "$(one_of clang-tidy-19 clang-tidy)" --quiet $(files '*.c' | grep '^\./c/') -- ${C_FLAGS%%-MMD*} ;;
	shellcheck) shellcheck $(files '*.sh') .ci/run ;;
	codespell) codespell $(files '*.go' '*.[ch]' '*.sh' '*.md' '*.proto' '*.mk' Makefile) .ci/run ;;
	generated) generated ;;
	*)
		echo "lint: no linter $1" >&2
		return 2
		;;
	esac
}

failed=0
[ $# -gt 0 ] || set -- gofmt vet staticcheck mod clang-format clang-tidy shellcheck codespell generated
for name; do
	if lint "$name"; then
		echo "--- PASS: $name"
	else
		echo "--- FAIL: $name"
		failed=1
	fi
done
exit "$failed"
