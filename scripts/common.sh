# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
#
# What the host scripts share; each sources it from its own directory, as $here.
# Settings are the unit's, KMESH_NODE_<FLAG> for each flag. Outside of a unit they
# are read from where the unit has them; what the caller set already, counts.

defaults=${KMESH_NODE_DEFAULTS:-/etc/default/kmesh-node}
if [ -z "${INVOCATION_ID-}" ] && [ -r "$defaults" ]; then
	# The last line may have no end.
	while read -r line || [ -n "$line" ]; do
		name=${line%%=*} value=${line#*=}
		case $name in
		"$line" | KMESH_NODE_*[!A-Z0-9_]* | KMESH_NODE_) continue ;;
		KMESH_NODE_*) ;;
		*) continue ;;
		esac
		# Quotes around the whole of a value are systemd's.
		case $value in
		\"*\" | \'*\') value=${value#?} value=${value%?} ;;
		esac
		if ! printenv "$name" >/dev/null; then export "$name=$value"; fi
	done <"$defaults"
fi

me=${0##*/}
me=${me%.sh}

say() { echo "$me: $*"; }

# die CODE TEXT…: the codes are those of kmesh-node.
die() {
	code=$1
	shift
	echo "$me: $*" >&2
	exit "$code"
}

# uninstall_plugin PROGRAM: nobody is to call a plugin that is not there. Says what that
# changed, and what it left.
uninstall_plugin() {
	said=$("$1" cni uninstall) || return
	if [ "$said" != "nothing to change" ]; then printf '%s\n' "$said"; fi
}

need_root() { [ "$(id -u)" -eq 0 ] || die 10 "not root: run it as root"; }

# find_node sets $node: $KMESH_NODE, or the one that was installed or built with
# these scripts, or the one in the PATH.
find_node() {
	# shellcheck disable=SC2154 # set by who sources this
	for node in "${KMESH_NODE-}" "$here/../build/kmesh-node" "$here/../../sbin/kmesh-node"; do
		if [ -n "$node" ] && [ -x "$node" ]; then return; fi
	done
	node=$(command -v kmesh-node) || die 10 "no kmesh-node here: install it, or set KMESH_NODE to its path"
}
