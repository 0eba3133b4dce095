#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Run the tests of kernels, test/e2e's TestKernel…, on the virtual machines that
# test/vm/machines lists, two at a time. When all ran and passed,
# docs/kernels.md is written from what they said.
#
# usage: run.sh OUT      KERNELS="5.10 newest" runs these alone
# OUT gets, by machine, NAME.out (results) and NAME.console. Kernels are kept
# in ${XDG_CACHE_HOME:-~/.cache}/kmesh-node/vm.
set -eu

out=${1:?usage: run.sh OUT}
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kmesh-node/vm

die() {
	echo "vm: $*" >&2
	exit 1
}

for tool in qemu-system-x86_64 busybox cpio bpftool ip timeout; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || die "no $tool here: run scripts/deps.sh test"
done
[ "$(uname -m)" = x86_64 ] || die "the virtual machines have the processor of this host, and Debian's cloud kernels are fetched for x86_64 alone"

all=$(awk '!/^#/ && NF { print $1 }' "$here/machines")
names=${KERNELS:-$all}
for name in $names; do
	echo "$all" | grep -qxF "$name" || die "KERNELS: no machine is called $name; there are: $(echo "$all" | tr '\n' ' ')"
done

rm -rf "$out"
mkdir -p "$out"
# Kernels first, so that no machine waits for a download.
for name in $names; do
	awk -v name="$name" '$1 == name { print $2, $3, $4, $5 }' "$here/machines"
done | sort -u | while read -r kernel suite flavour series; do
	"$here/fetch.sh" "$cache" "$kernel" "$suite" "$flavour" "$series" || exit 1
done

base=$out/initramfs
trap 'rm -f "$base"' EXIT
trap 'exit 1' HUP INT TERM
"$here/initramfs.sh" "$base"
rc=0
echo "$names" | tr ' ' '\n' | xargs -P 2 -n 1 "$here/boot.sh" "$cache" "$base" "$out" || rc=1

for name in $names; do
	tr -d "\r" <"$out/$name.out" | sed -n "s,^--- \([A-Z]*\): \(Test[A-Za-z]*\),--- \1: $name: \2,p"
done
[ "$rc" -eq 0 ] || exit 1
if [ -z "${KERNELS-}" ]; then
	# shellcheck disable=SC2086 # a list of names
	"$here/table.sh" "$out" $names >"$out/kernels.md"
	if ! cmp -s "$out/kernels.md" "$top/docs/kernels.md"; then
		cp "$out/kernels.md" "$top/docs/kernels.md"
		echo "vm: docs/kernels.md has changed"
	fi
fi
