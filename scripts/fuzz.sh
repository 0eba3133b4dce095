#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Run every fuzz target for a time: Go's Fuzz* functions and the C programs
# fuzz_* of a directory. New inputs go to build/; the corpus in the repo is only
# read. An input that fails stays in build/test/crash or the package's testdata.
#
# usage: fuzz.sh TIME DIR       TIME in seconds, as 30s
set -eu

time=${1:?} dir=${2:?}
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
go=${GO:-go}
failed=0

pass() { echo "--- PASS: $1 ($time)"; }

# A target that fails is named, and the others go on.
fail() {
	echo "--- FAIL: $1"
	failed=1
}

# go_fuzz TARGET PACKAGE: Go's fuzzer may end its time with nothing but the words
# "context deadline exceeded". Then no input has failed: it names those it finds.
go_fuzz() {
	out=$dir/fuzz.out
	set -- -run '^$' -fuzz "^$1\$" -fuzztime "$time" -fuzzminimizetime 20x -parallel 2 "$2"
	if "$go" test "$@" >"$out" 2>&1; then
		cat "$out"
	elif grep -q '^ *context deadline exceeded$' "$out" &&
		! grep -q -e 'Failing input' -e 'panic:' -e '\.go:[0-9]' "$out"; then
		grep '^fuzz:' "$out"
	else
		cat "$out"
		return 1
	fi
}

# Lines of FILE:TARGET.
targets=$(grep -r -o --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' internal loader test | sed 's/func //' | sort)
for target in $targets; do
	dir_of=./$(dirname "${target%%:*}")
	name=${target#*:}
	if go_fuzz "$name" "$dir_of"; then pass "$name"; else fail "$name"; fi
done

mkdir -p "$dir/crash"
for target in "$dir"/fuzz_*; do
	if [ ! -f "$target" ] || [ ! -x "$target" ]; then continue; fi
	name=$(basename "$target")
	work=$dir/corpus/$name
	mkdir -p "$work"
	set -- "$work"
	if [ -d c/test/corpus ]; then set -- "$@" c/test/corpus; fi
	set -- -max_total_time="${time%s}" -artifact_prefix="$dir/crash/" -print_final_stats=1 "$@"
	if "$target" "$@"; then pass "$name"; else fail "$name"; fi
done
exit "$failed"
