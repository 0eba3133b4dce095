#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Print docs/kernels.md: what each machine's tests said, a column for each.
#
# usage: table.sh OUT NAME…     with OUT/NAME.out as run.sh leaves it
set -eu

out=${1:?}
shift

cat <<'END'
# Kernels

What `make test-vm` found when it ran `TestKernel…` of `test/e2e` on kernels of Debian, in
QEMU, with one static binary and its objects; it writes this page. Machines are listed in
`test/vm/machines`: `hybrid` has cgroup v1 for its controllers, with sockets marked by
net_cls, and cgroup2 beside it.

A number names the reason below; the kernel itself was asked for it, and what kmesh-node
says there is part of the test.

END

for name; do
	echo "machine $name"
	tr -d '\r' <"$out/$name.out"
done | awk '
# What a test notes and why a subtest is skipped comes before its result, in order.
/^machine / { column[++columns] = $2; head = tail = 0; next }
/^=== RUN/ { section = title($3); next }
match($0, /note: /) {
	split(substr($0, RSTART + 6), pair, " = ")
	put(section, pair[1], pair[2])
	next
}
match($0, /lacks: /) { lacks[++tail] = substr($0, RSTART + 7); next }
/^    --- (PASS|SKIP|FAIL): / {
	row = $3
	sub("^[^/]*/", "", row)
	gsub("_", " ", row)
	put(section, row, $2 == "PASS:" ? "yes" : $2 == "SKIP:" ? "no (" mark(lacks[++head]) ")" : "FAILED")
}

function title(test) {
	if (test == "TestKernelAdsMode") return "ads mode"
	if (test == "TestKernelWorkloadMode") return "workload mode"
	return "machine"
}

# mark returns the number of a reason.
function mark(why) {
	if (!(why in number)) {
		number[why] = ++reasons
		reason[reasons] = why
	}
	return number[why]
}

function put(section, row, value,   key) {
	key = section SUBSEP row
	if (!(key in known)) {
		known[key] = 1
		order[++rows] = key
		if (!(section in seen)) {
			seen[section] = 1
			sections[++parts] = section
		}
	}
	cell[key, columns] = value
}

function line(first,   c) {
	printf "| %s |", first
	for (c = 1; c <= columns; c++) printf " %s |", values[c]
	print ""
}

END {
	for (s = 1; s <= parts; s++) {
		for (c = 1; c <= columns; c++) values[c] = column[c]
		line(sections[s])
		for (c = 1; c <= columns; c++) values[c] = "---"
		line("---")
		for (r = 1; r <= rows; r++) {
			split(order[r], part, SUBSEP)
			if (part[1] != sections[s]) continue
			for (c = 1; c <= columns; c++) values[c] = (order[r], c) in cell ? cell[order[r], c] : ""
			line(part[2])
		}
		print ""
	}
	for (i = 1; i <= reasons; i++) printf "%d. %s\n", i, reason[i]
}'
