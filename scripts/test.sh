#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Run test suites (targets of the Makefile) one after the other, all of them
# even where one fails, and count. A suite prints Go's result lines
# ("--- PASS: …") or "N passed, N failed"; one that counts nothing has failed.
#
# usage: test.sh SUITE…        with CI=true a skipped test is a failure too
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
log=$top/build/test/log
mkdir -p "$log"
cd "$top"

# count FILE: passed, failed and skipped, of top-level tests.
count() {
	awk '
		/^--- PASS/ { p++ }
		/^--- FAIL/ { f++ }
		/^--- SKIP/ { s++ }
		/^[0-9]+ passed, [0-9]+ failed/ { p += $1; f += $3 }
		/^FAIL.*\[(build|setup) failed\]/ { f++ }
		/^panic: / { f++ }
		END { print p + 0, f + 0, s + 0 }' "$1"
}

table=$log/summary
printf '%-12s %7s %7s %7s %7s\n' suite passed failed skipped seconds >"$table"
passed=0 failed=0 skipped=0
for suite; do
	echo "==== $suite"
	start=$(date +%s)
	rc=$log/$suite.rc
	{
		if "${MAKE:-make}" --no-print-directory "$suite"; then echo 0 >"$rc"; else echo 1 >"$rc"; fi
	} 2>&1 | tee "$log/$suite.log"
	# shellcheck disable=SC2046 # three numbers
	set -- $(count "$log/$suite.log")
	# A suite that broke, or ran nothing, counts as one failure at least.
	if [ "$2" -eq 0 ] && { [ "$(cat "$rc")" -ne 0 ] || [ "$1" -eq 0 ]; }; then set -- "$1" 1 "$3"; fi
	printf '%-12s %7d %7d %7d %7d\n' "$suite" "$1" "$2" "$3" $(($(date +%s) - start)) >>"$table"
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
done

echo "==== summary"
cat "$table"
grep -h -E '^ *--- (FAIL|SKIP)|^FAIL [a-z]' "$log"/*.log || :
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] || exit 1
if [ "${CI-}" = true ] && [ "$skipped" -gt 0 ]; then
	echo "test: nothing may be skipped in CI" >&2
	exit 1
fi
