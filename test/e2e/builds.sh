#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Two more builds for the tests of updates, in DIR: `next`, whose maps are laid out
# otherwise in every way that can be brought over, and `other`, which cannot take over
# what this build leaves. The sources are those of this tree with other headers.
#
# usage: builds.sh DIR     from the top of the tree, with MAKE, GO and GOFLAGS set
set -eu

top=$(pwd)
dir=$1
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
new=$dir/src.new src=$dir/src
trap 'rm -rf "$new"' EXIT

# edit FILE SCRIPT: every command of the script has to change something.
edit() {
	file=$1
	shift
	for command; do
		sed "$command" "$file" >"$file.edited"
		if cmp -s "$file" "$file.edited"; then
			echo "builds.sh: $command changes nothing in $file" >&2
			exit 1
		fi
		mv "$file.edited" "$file"
	done
}

# copy: new becomes this tree.
copy() {
	rm -rf "$new"
	mkdir -p "$new"
	for f in *; do
		case $f in
		build | libbpf) ;;
		*) cp -Rp "$f" "$new" ;;
		esac
	done
}

# refresh: src becomes new; what is the same keeps its time, and is not built again.
refresh() {
	mkdir -p "$src/build"
	(cd "$new" && find . -type f) | while read -r f; do
		if ! cmp -s "$new/$f" "$src/$f"; then
			mkdir -p "$(dirname "$src/$f")"
			cp -p "$new/$f" "$src/$f"
		fi
	done
	(cd "$src" && find . -path ./build -prune -o -type f -print) | while read -r f; do
		[ -e "$new/$f" ] || rm "$src/$f"
	done
}

copy

# Maps that grow, and one that shrinks.
edit "$new/bpf/abi.h" \
	's/^\(#define KM_MAX_LISTENERS\) .*/\1 12288u/' \
	's/^\(#define KM_MAX_CLUSTERS\) .*/\1 24576u/' \
	's/^\(#define KM_MAX_NETNS\) .*/\1 8192u/' \
	's/^\(#define KM_SLABS\) .*/\1 2048u/' \
	's/^\(#define KM_NETNS_SLOT_SHIFT\) .*/\1 51u/'
# Values with a field more, in another order, or wider.
edit "$new/bpf/abi.h" \
	's/^\t__u64 cur;$/\t__u64 added;\n&/; s/sizeof(struct km_root) == 24/sizeof(struct km_root) == 32/' \
	's/^\t__u64 reserved\[3\];$/\t__u64 added;\n\t__u64 reserved[2];/' \
	's/^\t__u64 since; \/\* ktime, ns \*\/$//; s/^\t__u32 n;\t.*$/&\n\t__u64 since;\n\t__u64 added;/' \
	's/^\t__u32 flags;\t \/\* enum km_conn_flags \*\/$/\t__u64 flags;/; s/sizeof(struct km_conn) == 32/sizeof(struct km_conn) == 40/' \
	's/^\t__u64 restarts;.*$/\t__u64 added;\n&/' \
	's/^\t__u32 tick;.*$/\t__u32 added;\n&/; s/sizeof(struct km_config) == 40/sizeof(struct km_config) == 48/'
edit "$new/bpf/workload.h" \
	's/^\(#define KW_WORKLOADS\) .*/\1 65536u/' \
	's/^\(#define KW_EVENT_BYTES\) .*/\1 (512u << 10)/' \
	's/^\t__u64 pad2;$/\t__u64 added;/' \
	's/^\t__u64 unsealed;.*$/&\n\t__u64 added;/' \
	's/^\t__u32 next_set;.*$/\t__u32 added32;\n&/; s/^\t__u32 next_resource;$/&\n\t__u64 added;/; /^\t__u64 reserved;$/d'
# A program that is another one.
edit "$new/bpf/destination.h" 's/^static __always_inline void destination/const volatile __u32 next_build = 1;\n\n&/'
refresh
for d in bin libbpf libbpf-1.5.0; do
	[ ! -e "$top/build/$d" ] || ln -sfn "$top/build/$d" "$src/build/$d"
done
[ ! -e "$top/libbpf/src" ] || ln -sfn "$top/libbpf" "$src/libbpf"

# Go's build cache does not look into headers: their digest makes it.
digest=$(cat "$src"/bpf/*.h "$src"/c/*.h "$src"/internal/*/*.h | cksum | cut -d' ' -f1)
"$MAKE" -s -C "$src" -o build/libbpf/libbpf.a \
	CGO_CFLAGS="-O2 -g -I$src/build/libbpf/include -I$src/build/pb -I$src/c -I$src -DKMESH_HEADERS=$digest"
cp -p "$src/build/kmesh-node" "$dir/next"

# The other build is this one with other objects of maps: nodes of the store lie in
# slabs of another size, and messages are cut into parts of another length.
copy
edit "$new/bpf/abi.h" 's/^\(#define KM_SLAB_SHIFT\) .*/\1 11u/'
edit "$new/bpf/workload.h" 's/^\(#define KW_CHUNK_DATA\) .*/\1 416u/; s/sizeof(struct kw_chunk) == 456/sizeof(struct kw_chunk) == 448/'
src=$dir/other.src
refresh
for d in libbpf libbpf-1.5.0; do
	[ ! -e "$top/build/$d" ] || ln -sfn "$top/build/$d" "$src/build/$d"
done
[ ! -e "$top/libbpf/src" ] || ln -sfn "$top/libbpf" "$src/libbpf"
"$MAKE" -s -C "$src" -o build/libbpf/libbpf.a build/bpf/maps.bpf.o build/bpf/wmaps.bpf.o
cat >"$dir/overlay.json" <<JSON
{"Replace": {
	"$top/build/bpf/maps.bpf.o": "$src/build/bpf/maps.bpf.o",
	"$top/build/bpf/wmaps.bpf.o": "$src/build/bpf/wmaps.bpf.o"
}}
JSON
"$GO" build -overlay "$dir/overlay.json" -trimpath -o "$dir/other" .
