#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The arm64 binary on an arm64 kernel of Debian, both under emulation: it starts, its
# programs pass that kernel's verifier, and connections follow the configuration.
# Kernel and busybox are kept in ${XDG_CACHE_HOME:-~/.cache}/kmesh-node/arm64.
set -eu

# shellcheck source=test/package/lib.sh
. "${here:?}/lib.sh"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kmesh-node/arm64
console=${top:?}/build/test/log/arm64.console
mkdir -p "${console%/*}"

# fetch puts kernel and busybox into the cache.
fetch() {
	[ ! -e "$cache/complete" ] || return 0
	codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	"$top/scripts/apt-private.sh" "${tmp:?}/apt" "${codename:?}" deb arm64
	export APT_CONFIG="$tmp/apt/apt.conf"
	image=$(apt-cache depends linux-image-cloud-arm64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p')
	mkdir "$tmp/deb"
	(cd "$tmp/deb" && apt-get -qq download "$image" busybox-static)
	unset APT_CONFIG
	for deb in "$tmp"/deb/*.deb; do dpkg-deb -x "$deb" "$tmp/arm64"; done
	rm -rf "$cache"
	mkdir -p "$cache"
	cp "$tmp"/arm64/boot/vmlinuz-* "$cache/vmlinuz"
	cp "$(find "$tmp/arm64" -path '*bin/busybox' -type f)" "$cache/busybox"
	touch "$cache/complete"
}

initramfs() {
	root=$tmp/initramfs
	mkdir -p "$root/bin" "$root/repo/build/test"
	install -m 755 "$cache/busybox" "$root/bin/busybox"
	install -m 755 "$top/build/arm64/kmesh-node" "$root/bin/kmesh-node"
	ln -s /bin/kmesh-node "$root/repo/build/kmesh-node"
	install -m 755 "$top/build/test/arm64/demo" "$root/repo/build/test/demo"
	cp -r "$top/example" "$top/scripts" "$root/repo/"
	# busybox's ip does not know it; duplicates are not looked for on lo.
	sed -i 's/ nodad$//' "$root/repo/scripts/demo.sh"
	install -m 755 "$here/arm64.init" "$root/init"
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$tmp/initrd"
}

the_machine_comes_to_its_end() {
	fetch
	"${MAKE:-make}" -C "$top" -s ARCH=arm64
	"${MAKE:-make}" -C "$top" -s build/test/arm64/demo
	initramfs
	# Pointer authentication as the architecture has it costs half of the time.
	timeout 400 qemu-system-aarch64 -M virt -accel tcg -cpu max,pauth-impdef=on -smp 1 -m 768 \
		-nodefaults -no-user-config -display none -monitor none -no-reboot \
		-kernel "$cache/vmlinuz" -initrd "$tmp/initrd" -append 'console=ttyAMA0 loglevel=4 panic=-1' \
		-serial "file:$console"
	tr -d '\r' <"$console" >"$tmp/console"
	grep -q '^end$' "$tmp/console" || fail "$(tail -n 30 "$tmp/console")"
	has "$tmp/console" 'machine aarch64'
	# Same objects on both: what differs is how they are loaded.
	"$top/build/kmesh-node" version | grep '^object' >"$tmp/objects"
	[ -s "$tmp/objects" ]
	grep '^object' "$tmp/console" | diff "$tmp/objects" -
}

# step NAME: fails where the machine said so; then shows what was said.
step() {
	grep -q "^step $1 0\$" "$tmp/console" || fail "$(awk -v name="$1" '/^step / { if ($2 == name) print said $0; said = ""; next } { said = said $0 "\n" }' "$tmp/console")"
}

it_says_its_version() { step version; }
a_usage_error_exits_2() { step usage_error; }
every_program_passes_the_verifier() {
	step check_verify
	[ "$(grep -c -E '^(ads|workload) .* [0-9]+$' "$tmp/console")" -ge 20 ] || fail "$(cat "$tmp/console")"
}
ads_mode_comes_up() { step ads_up; }
connections_follow_the_configuration() {
	step ads_apply
	step ads_traffic
}
workload_mode_comes_up() {
	step workload_up
	step workload_apply
	step status
}
down_leaves_nothing() {
	step down
	step nothing_left
}

if [ "$(uname -m)" != x86_64 ]; then
	echo "--- SKIP: arm64: emulated from x86_64 alone"
	exit 0
fi
run_tests the_machine_comes_to_its_end it_says_its_version a_usage_error_exits_2 every_program_passes_the_verifier \
	ads_mode_comes_up connections_follow_the_configuration workload_mode_comes_up down_leaves_nothing
