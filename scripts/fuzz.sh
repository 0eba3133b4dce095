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

# run NAME CMD…: a target that fails is named, and the others go on.
run() {
	name=$1
	shift
	if "$@"; then
		echo "--- PASS: $name ($time)"
	else
		echo "--- FAIL: $name"
		failed=1
	fi
}

# Lines of FILE:TARGET.
targets=$(grep -r -o --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' internal loader test | sed 's/func //' | sort)
for target in $targets; do
	dir_of=./$(dirname "${target%%:*}")
	run "${target#*:}" "$go" test -run '^$' -fuzz "^${target#*:}\$" -fuzztime "$time" -fuzzminimizetime 20x -parallel 2 "$dir_of"
done

mkdir -p "$dir/crash"
for target in "$dir"/fuzz_*; do
	if [ ! -f "$target" ] || [ ! -x "$target" ]; then continue; fi
	name=$(basename "$target")
	work=$dir/corpus/$name
	mkdir -p "$work"
	set -- "$work"
	if [ -d c/test/corpus ]; then set -- "$@" c/test/corpus; fi
	run "$name" "$target" -max_total_time="${time%s}" -artifact_prefix="$dir/crash/" -print_final_stats=1 "$@"
done
exit "$failed"
