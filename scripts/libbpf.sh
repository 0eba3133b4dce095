#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Find the libbpf source tree, getting it where it is not there, and print its
# path. libbpf/ is a submodule; where it is not checked out, Debian's source
# package holds the identical tree and comes from the mirror that this host is
# set up for, so that a host without a way to the submodule's remote builds too.
#
# usage: libbpf.sh OUT    OUT/libbpf-VERSION is where a package is unpacked
set -eu

version=1.5.0
package=libbpf=1.5.0-3
suite=trixie
orig=libbpf_1.5.0.orig.tar.gz
sha256=53492aff6dd47e4da04ef5e672d753b9743848bdb38e9d90eafbe190b7983c44

top=$(cd "$(dirname "$0")/.." && pwd)
out=${1:?usage: libbpf.sh OUT}
mkdir -p "$out"
out=$(cd "$out" && pwd)
tree=$out/libbpf-$version

say() { echo "libbpf: $*" >&2; }

# from_package: fetch with apt in a state directory of our own: the host's
# package lists and sources stay as they are.
from_package() {
	command -v apt-get >/dev/null || return 1
	state=$out/libbpf-apt
	say "fetching source package $package of Debian $suite"
	"$top/scripts/apt-private.sh" "$state" "$suite" deb-src || return 1
	(cd "$state" && APT_CONFIG=$state/apt.conf apt-get -qq source --download-only "$package") >&2 || return 1
	echo "$sha256  $state/$orig" | sha256sum --check --quiet >&2 || {
		say "$orig is not the tree of v$version (sha256 differs)"
		return 1
	}
	rm -rf "$tree.new"
	mkdir "$tree.new"
	tar -xzf "$state/$orig" -C "$tree.new" --strip-components=1
	rm -rf "$tree" "$state"
	mv "$tree.new" "$tree"
}

if [ -f "$top/libbpf/src/libbpf.c" ]; then
	tree=$top/libbpf
elif [ ! -f "$tree/src/libbpf.c" ]; then
	from_package || {
		say "trying the submodule"
		git -C "$top" submodule update --init --depth 1 libbpf >&2 || {
			say "no source: neither the Debian package nor the submodule can be had;"
			say "run 'git submodule update --init libbpf' where its remote can be reached"
			exit 1
		}
		tree=$top/libbpf
	}
fi
echo "$tree"
