#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Boot one virtual machine of test/vm/machines and have it run its tests. It is
# emulated: not every machine that the tests run on may use KVM.
#
# usage: boot.sh CACHE BASE OUT NAME
# OUT/NAME.out gets what the tests said, OUT/NAME.console what the kernel said. The
# exit code is 0 when all passed and the kernel complained of nothing.
set -eu

cache=${1:?} base=${2:?} out=${3:?} name=${4:?}
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck disable=SC2046 # the columns
set -- $(awk -v name="$name" '$1 == name' "$here/machines")
kernel=$cache/$2 cpus=$6 processor=$7 cgroups=$8
shift 8
results=$out/$name.out console=$out/$name.console

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$tree/own"
cp -r "$kernel/mod" "$tree/own/mod"
echo "$cgroups" >"$tree/own/cgroups"
echo "${TESTS:-^TestKernel}" >"$tree/own/tests"
(cd "$tree/own" && find . | cpio -o -H newc --quiet) | cat "$base" - >"$tree/initrd"

# The time that a machine may take allows for a host that is busy with others.
# panic=-1 with -no-reboot ends QEMU where a kernel panics.
: >"$results"
timeout 600 qemu-system-x86_64 -accel tcg -cpu "$processor" -smp "$cpus" -m 1024 \
	-nodefaults -no-user-config -display none -monitor none -no-reboot \
	-kernel "$kernel/vmlinuz" -initrd "$tree/initrd" -append "console=ttyS0 panic=-1 $*" \
	-serial "file:$console" -serial "file:$results" 2>"$tree/errors" &
qemu=$!
trap 'kill "$qemu" 2>/dev/null || :; rm -rf "$tree"' EXIT

# QEMU with two processors does not always end with its machine.
while kill -0 "$qemu" 2>/dev/null && ! grep -q '^end ' "$results"; do sleep 0.2; done
kill "$qemu" 2>/dev/null || :
rc=0
wait "$qemu" || rc=$?

fail() {
	{
		echo "--- FAIL: $name: $*"
		echo "the last that its tests said:"
		grep -v -- "--- PASS" "$results" | tail -n 40
		echo "the last that its kernel said:"
		tail -n 10 "$console"
		cat "$tree/errors"
	} >&2
	exit 1
}

seconds=$(sed -n 's/^end //p' "$results" | tr -d '\r')
[ -n "$seconds" ] || fail "it did not come to its end (QEMU's exit code is $rc, 124 for too late)"
! grep -q '^kernel: ' "$results" || fail "its kernel complains"
grep -q '^rc 0' "$results" || fail "its tests failed"
echo "vm: $name: Linux $(sed -n 's/.*note: release = //p' "$results" | tr -d '\r'), done after $seconds s"
