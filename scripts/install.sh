#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Install kmesh-node on this host: the binary, the unit, its scripts and settings,
# the manual page, completion for bash, zsh and fish. Again, or over another version:
# each file is put beside its place and renamed into it, so that what runs goes on
# undisturbed. Where a step fails all is as it was before.
#
# It starts nothing, but with --enable; the data plane that is up stays as it is until
# the next start of the unit, or `kmesh-node up`.
#
# usage: install.sh [--enable] [--prefix DIR] [--destdir DIR] [--package]
#   --prefix DIR   in place of /usr
#   --destdir DIR  put everything below DIR; nothing of this host is touched
#   --package      for one who packs: no list for uninstall.sh, which goes by it
#   --binary FILE, --share DIR   where the build has them elsewhere
set -eu

here=$(cd "$(dirname "$0")" && pwd)
me=install
prefix=/usr destdir='' enable='' package='' binary='' share='' zsh=''

say() { echo "$me: $*"; }

die() {
	code=$1
	shift
	echo "$me: $*" >&2
	exit "$code"
}

while [ $# -gt 0 ]; do
	case $1 in
	--enable) enable=yes ;;
	--package) package=yes ;;
	--prefix | --destdir | --binary | --share | --zsh-dir)
		[ $# -gt 1 ] || die 2 "$1 needs a value"
		case $1 in
		--prefix) prefix=$2 ;;
		--destdir) destdir=$2 ;;
		--binary) binary=$2 ;;
		--share) share=$2 ;;
		--zsh-dir) zsh=$2 ;;
		esac
		shift
		;;
	*) die 2 "$1: unknown; see the head of $0" ;;
	esac
	shift
done
case $prefix in
/ | /*/) prefix=${prefix%/} ;;
/*) ;;
*) die 2 "--prefix $prefix: not an absolute path" ;;
esac
# It is in the unit, where others have a meaning.
case $prefix in
*[!A-Za-z0-9/._+~-]*) die 2 "--prefix $prefix: letters, digits and / . _ + ~ - only" ;;
esac
case $destdir in
*[[:space:]]*) die 2 "a path with a blank in it: '$destdir'" ;;
esac
[ -z "$destdir" ] || [ -z "$enable" ] || die 2 "--enable is for this host, not for --destdir"

# From a clone, or out of the archive that `make dist` makes.
if [ -z "$binary" ]; then
	for binary in "$here/kmesh-node" "$here/../build/kmesh-node"; do
		if [ -f "$binary" ]; then break; fi
	done
fi
[ -f "$binary" ] || die 10 "$binary is not here: run 'make', which builds it"
license=$here/LICENSE
[ -f "$license" ] || license=$here/../LICENSE
[ -n "$share" ] || [ ! -d "$here/share" ] || share=$here/share

# Debian's zsh looks elsewhere than the others'.
if [ -z "$zsh" ]; then
	zsh=site-functions
	if [ -e /etc/debian_version ] && [ "$prefix" = /usr ]; then zsh=vendor-completions; fi
fi
case $prefix in
/usr | /usr/local) units=$prefix/lib/systemd/system ;;
*) units=/etc/systemd/system ;;
esac
lib=$prefix/lib/kmesh-node
list=$lib/installed

# live: is it this host's systemd that is to know?
live() { [ -z "$destdir" ] && [ -d /run/systemd/system ]; }

if [ -z "$destdir" ]; then
	[ "$(id -u)" -eq 0 ] || die 10 "not root: run it as root, or with --destdir"
	if [ -z "$package" ] && dpkg-query -S "$prefix/sbin/kmesh-node" >/dev/null 2>&1; then
		die 10 "$prefix/sbin/kmesh-node is of a Debian package: upgrade that with dpkg, or remove it first"
	fi
fi

tmp=$(mktemp -d)
: >"$tmp/done"
: >"$tmp/dirs"
: >"$tmp/new"
: >"$tmp/list"
was_active='' was_enabled='' started=''
if live; then
	if systemctl is-active --quiet kmesh-node; then was_active=yes; fi
	if systemctl is-enabled --quiet kmesh-node 2>/dev/null; then was_enabled=yes; fi
fi

# undo: what has been placed goes, what was there before comes back.
undo() {
	set +e # as much as can be
	trap '' HUP INT PIPE TERM
	while read -r dest; do
		rm -f "$dest.kmesh-new"
		if [ -e "$dest.kmesh-old" ]; then
			mv -f "$dest.kmesh-old" "$dest"
		elif grep -q -x -F -e "$dest" "$tmp/new"; then
			rm -f "$dest"
		fi
	done <"$tmp/done"
	sort -r "$tmp/dirs" | while read -r dir; do rmdir "$dir" 2>/dev/null || :; done
	if live; then
		if [ -n "$started" ] && [ -z "$was_enabled" ]; then systemctl disable kmesh-node || :; fi
		systemctl daemon-reload || :
		if [ -n "$started" ] && [ -n "$was_active" ]; then systemctl restart kmesh-node || :; fi
	fi
	rm -rf "$tmp"
	echo "$me: failed; all is as it was before" >&2
}
trap 'undo' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

# make_dir DIR: with what it lies in, noting what was not there.
make_dir() {
	[ ! -d "$1" ] || return 0
	make_dir "$(dirname "$1")"
	mkdir -m 755 "$1"
	echo "$1" >>"$tmp/dirs"
	if [ "$1" != "$destdir" ]; then echo "d ${1#"$destdir"}" >>"$tmp/list"; fi
}

sum() { sha256sum <"$1" | cut -d ' ' -f 1; }

# place MODE FILE DEST [TYPE]: beside its place, for now.
place() {
	dest=$destdir$3
	make_dir "$(dirname "$dest")"
	[ ! -d "$dest" ] || die 1 "$dest is a directory: it is to be a file"
	echo "$dest" >>"$tmp/done"
	install -m "$1" "$2" "$dest.kmesh-new"
	echo "${4:-f} $3 $(sum "$2")" >>"$tmp/list"
}

# settings FILE DEST: those that somebody changed are kept.
settings() {
	dest=$destdir$2
	if [ -e "$dest" ] && [ -z "$package" ]; then
		now=$(sum "$dest")
		was=$(awk -v path="$2" '$1 == "c" && $2 == path { print $3 }' "$destdir$list" 2>/dev/null || :)
		if [ "$now" != "$(sum "$1")" ] && [ "$now" != "$was" ]; then
			say "$dest stays as it was changed; compare with $1"
			echo "c $2 ${was:-none}" >>"$tmp/list"
			return
		fi
	fi
	place 644 "$1" "$2" c
}

# text NAME ARG…: what the binary prints, or the build has printed by it.
text() {
	name=$1
	shift
	if [ -n "$share" ]; then
		cp "$share/$name" "$tmp/$name"
	else
		"$binary" "$@" >"$tmp/$name" || die 1 "$binary $* does not run here: use --share"
	fi
}

text kmesh-node.8 man
text kmesh-node.bash completion bash
text kmesh-node.zsh completion zsh
text kmesh-node.fish completion fish
gzip -9n "$tmp/kmesh-node.8"
sed "s,/usr/sbin/kmesh-node,$prefix/sbin/kmesh-node,; s,/usr/lib/kmesh-node/,$lib/," "$here/kmesh-node.service" >"$tmp/unit"

place 755 "$binary" "$prefix/sbin/kmesh-node"
for name in start-pre stop-post wait-ready enroll refresh-cni; do place 755 "$here/$name.sh" "$lib/$name"; done
place 644 "$here/common.sh" "$lib/common.sh"
place 644 "$tmp/unit" "$units/kmesh-node.service"
place 644 "$tmp/kmesh-node.8.gz" "$prefix/share/man/man8/kmesh-node.8.gz"
place 644 "$tmp/kmesh-node.bash" "$prefix/share/bash-completion/completions/kmesh-node"
place 644 "$tmp/kmesh-node.zsh" "$prefix/share/zsh/$zsh/_kmesh-node"
place 644 "$tmp/kmesh-node.fish" "$prefix/share/fish/vendor_completions.d/kmesh-node.fish"
settings "$here/kmesh-node.default" /etc/default/kmesh-node
make_dir "$destdir/etc/kmesh-node"
if [ -z "$package" ]; then
	place 644 "$license" "$prefix/share/doc/kmesh-node/LICENSE"
	place 755 "$here/uninstall.sh" "$lib/uninstall"
	if [ -f "$destdir$list" ]; then
		# Directories of the first time, and files that this version has no more.
		awk '$1 == "d"' "$destdir$list" >>"$tmp/list"
		awk 'NR == FNR { new[$2] = 1; next } $1 == "f" && !($2 in new) { print $2 }' "$tmp/list" "$destdir$list" >"$tmp/obsolete"
		while read -r gone; do
			if [ ! -e "$destdir$gone" ]; then continue; fi
			echo "$destdir$gone" >>"$tmp/done"
			mv "$destdir$gone" "$destdir$gone.kmesh-old"
			say "removed $destdir$gone: this version has it no more"
		done <"$tmp/obsolete"
	fi
	sort -u "$tmp/list" >"$tmp/installed"
	place 644 "$tmp/installed" "$list"
fi

# Now all of it is on this file system, a rename away.
while read -r dest; do
	if [ ! -e "$dest.kmesh-new" ]; then continue; fi
	# One from a run that was killed is not what is there now.
	rm -f "$dest.kmesh-old"
	if [ -e "$dest" ]; then cp -p "$dest" "$dest.kmesh-old"; else echo "$dest" >>"$tmp/new"; fi
	if cmp -s "$dest.kmesh-new" "$dest"; then verb='is as it was:'; else verb=installed; fi
	mv -f "$dest.kmesh-new" "$dest"
	say "$verb $dest"
done <"$tmp/done"

if live; then
	systemctl daemon-reload
	if [ -n "$enable" ]; then
		started=yes
		systemctl enable kmesh-node
		if [ -n "$was_active" ]; then systemctl restart kmesh-node; else systemctl start kmesh-node; fi
		say "enabled and started"
	elif [ -n "$was_active" ]; then
		say "the one that runs is the old one until: systemctl restart kmesh-node"
	else
		say "to start it now and at each boot: systemctl enable --now kmesh-node"
	fi
elif [ -n "$enable" ]; then
	die 10 "no systemd runs here: --enable cannot be done"
fi

if [ -z "$destdir" ]; then "$lib/refresh-cni"; fi

trap - EXIT HUP INT PIPE TERM
while read -r dest; do rm -f "$dest.kmesh-old"; done <"$tmp/done"
rm -rf "$tmp"
