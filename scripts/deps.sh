#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Install what this host lacks for building kmesh-node, and with `test` what its
# tests and linters need too. Where all is there it does nothing: what counts is
# that the tool or library is found, whichever package it came from.
#
# usage: deps.sh build|test
set -eu

# group  what to look for              apt                   dnf                            zypper
# cmd:A|B is a command of either name, lib:X a static library that the compiler
# finds, hdr:X a header; `-` says that the distribution has no such package.
table='
build cmd:make                         make                  make                           make
build cmd:gcc                          gcc                   gcc                            gcc
build cmd:ar                           binutils              binutils                       binutils
build cmd:tar                          tar                   tar                            tar
build lib:c                            libc6-dev             glibc-static                   glibc-devel-static
build hdr:stdlib.h                     libc6-dev             glibc-devel                    glibc-devel
build hdr:linux/types.h                linux-libc-dev        kernel-headers                 linux-glibc-devel
build cmd:clang-19|clang               clang-19              clang                          clang
build cmd:llvm-strip-19|llvm-strip     llvm-19               llvm                           llvm
build hdr:libelf.h                     libelf-dev            elfutils-libelf-devel          libelf-devel
build lib:elf                          libelf-dev            elfutils-libelf-devel-static   libelf-devel
build hdr:zlib.h                       zlib1g-dev            zlib-devel                     zlib-devel
build lib:z                            zlib1g-dev            zlib-static                    zlib-devel-static
build zstd                             libzstd-dev           libzstd-static                 libzstd-devel-static
build hdr:protobuf-c/protobuf-c.h      libprotobuf-c-dev     protobuf-c-devel               libprotobuf-c-devel
build lib:protobuf-c                   libprotobuf-c-dev     -                              -
build cmd:protoc-c                     protobuf-c-compiler   protobuf-c-compiler            protobuf-c
build cmd:ip                           iproute2              iproute                        iproute2
build file:/etc/ssl/certs              ca-certificates       ca-certificates                ca-certificates
build go                               go-of-debian          golang                         go
test  cmd:protoc                       protobuf-compiler     protobuf-compiler              protobuf-devel
test  file:/usr/include/google/protobuf libprotobuf-dev     protobuf-devel                 protobuf-devel
test  cmd:bpftool                      bpftool               bpftool                        bpftool
test  cmd:clang-format-19|clang-format clang-format-19       clang-tools-extra              clang-tools
test  cmd:clang-tidy-19|clang-tidy     clang-tidy-19         clang-tools-extra              clang-tools
test  asan                             libclang-rt-19-dev    compiler-rt                    clang
test  cmd:shellcheck                   shellcheck            ShellCheck                     ShellCheck
test  cmd:codespell                    codespell             codespell                      codespell
test  cmd:dpkg-deb                     dpkg                  dpkg                           dpkg
test  cmd:man                          man-db                man-db                         man
test  cmd:mandoc                       mandoc                mandoc                         mandoc
test  file:/usr/share/bash-completion/bash_completion bash-completion bash-completion       bash-completion
test  cmd:zsh                          zsh                   zsh                            zsh
test  cmd:fish                         fish                  fish                           fish
test  cmd:aarch64-linux-gnu-gcc        gcc-aarch64-linux-gnu gcc-aarch64-linux-gnu          -
test  file:/usr/aarch64-linux-gnu/lib/libc.a libc6-dev-arm64-cross -                        -
test  cmd:qemu-system-aarch64          qemu-system-arm       qemu-system-aarch64-core       qemu-arm
test  cmd:qemu-system-x86_64           qemu-system-x86       qemu-system-x86                qemu-x86
test  cmd:busybox                      busybox-static        busybox                        busybox-static
test  cmd:cpio                         cpio                  cpio                           cpio
test  cmd:xz                           xz-utils              xz                             xz
test  file:/lib/systemd/systemd        systemd               systemd                        systemd
test  cmd:unshare                      util-linux            util-linux                     util-linux
'

top=$(cd "$(dirname "$0")/.." && pwd)
case "${1-}" in
build) groups='build' ;;
test) groups='build test' ;;
*)
	echo "usage: deps.sh build|test" >&2
	exit 2
	;;
esac
# bpftool and ip live in sbin, which a user's PATH may lack.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

say() { echo "deps: $*"; }

die() {
	echo "deps: $*" >&2
	exit 1
}

compiler() { command -v gcc || command -v clang-19 || command -v clang; }

# static_lib NAME: would the linker find libNAME.a?
static_lib() {
	cc=$(compiler) || return 1
	[ -f "$("$cc" -print-file-name="lib$1.a")" ]
}

# present CHECK: is it there? See the table for the forms.
present() {
	case "$1" in
	cmd:*)
		for name in $(echo "${1#cmd:}" | tr '|' ' '); do
			if command -v "$name" >/dev/null; then return 0; fi
		done
		return 1
		;;
	lib:*) static_lib "${1#lib:}" ;;
	hdr:*)
		cc=$(compiler) || return 1
		echo "#include <${1#hdr:}>" | "$cc" -E -x c - >/dev/null 2>&1
		;;
	file:*) [ -e "${1#file:}" ] ;;
	# A libelf from 0.189 on may want zstd where it is linked statically.
	zstd)
		cc=$(compiler) || return 0
		elf=$("$cc" -print-file-name=libelf.a)
		! grep -q ZSTD_ "$elf" 2>/dev/null || static_lib zstd
		;;
	asan)
		cc=$(command -v clang-19 || command -v clang) || return 1
		[ -n "$(find "$("$cc" -print-resource-dir)" -name 'libclang_rt.fuzzer*.a' 2>/dev/null)" ]
		;;
	go) "$top/scripts/go.sh" >/dev/null ;;
	esac
}

# missing COLUMN: the rows of the wanted groups that are not there, each as
# "CHECK PACKAGE" with the package of that column.
missing() {
	echo "$table" | while read -r group check apt dnf zypper; do
		case " $groups " in *" ${group:-none} "*) ;; *) continue ;; esac
		present "$check" && continue
		case "$1" in
		apt) echo "$check $apt" ;;
		dnf) echo "$check $dnf" ;;
		zypper) echo "$check $zypper" ;;
		esac
	done
}

# packages COLUMN: their names, each once. Debian's Go is found by debian_go.
packages() { missing "$1" | awk '$2 != "-" && $2 != "go-of-debian" && !seen[$2]++ { printf "%s ", $2 }'; }

# debian_go: Debian's Go, from backports where the release's own is older than
# 1.21, from which on Go fetches the toolchain that go.mod names by itself.
debian_go() {
	version=$(apt-cache policy golang-go | sed -n 's/^ *Candidate: *[0-9]*:1\.\([0-9]*\).*/\1/p')
	if [ "${version:-0}" -ge 21 ]; then
		apt-get install -y --no-install-recommends golang-go
		return
	fi
	codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	say "this release's Go is too old: taking it from $codename-backports, for this once"
	state=$(mktemp -d)
	"$top/scripts/apt-private.sh" "$state" "$codename-backports" deb
	export APT_CONFIG="$state/apt.conf"
	name=$(apt-cache search --names-only '^golang-1[.][0-9]+-go$' | cut -d' ' -f1 | sort -V | tail -n 1)
	apt-get install -y --no-install-recommends -t "$codename-backports" "$name"
	unset APT_CONFIG
	rm -rf "$state"
}

# round MANAGER: install what is missing now.
round() {
	# shellcheck disable=SC2046 # a list of names
	set -- "$1" $(packages "$1")
	manager=$1
	shift
	[ $# -gt 0 ] || return 0
	say "installing with $manager: $*"
	case "$manager" in
	apt) apt-get install -y --no-install-recommends "$@" ;;
	dnf) dnf install -y "$@" ;;
	zypper) zypper --non-interactive install --no-recommends "$@" ;;
	esac
}

# install MANAGER: twice, because some needs only show when the compiler and
# the libraries are there.
install() {
	if [ "$1" = apt ]; then
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq || say "apt-get update complained; going on with the lists there are"
		round apt && round apt && { present go || debian_go; }
	else
		round "$1" && round "$1"
	fi
}

manager=
for m in apt-get dnf zypper; do
	if command -v "$m" >/dev/null; then
		manager=${m%-get}
		break
	fi
done

lacking=$(missing "${manager:-apt}")
if [ -z "$lacking" ]; then
	say "everything for '$1' is here"
	exit 0
fi
say "missing: $(echo "$lacking" | cut -d' ' -f1 | tr '\n' ' ')"
[ -n "$manager" ] || die "no apt-get, dnf or zypper here: install these by hand (names as in Debian): $(packages apt)"
[ "$(id -u)" -eq 0 ] || die "not root: run 'sudo scripts/deps.sh $1', or install: $(packages "$manager")"

install "$manager" || die "$manager could not install all of: $(packages "$manager")- look at its message above"

lacking=$(missing "$manager")
[ -z "$lacking" ] || die "still missing: $(echo "$lacking" | awk '{ printf "%s (%s) ", $1, $2 == "-" ? "no package here: build it from source" : $2 }')"
say "done"
