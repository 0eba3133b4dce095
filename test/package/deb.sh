#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The Debian package on a host of its own, see root.sh: installed, upgraded, back,
# removed and purged by dpkg, with the data plane up meanwhile. The tests go on from
# one another.
set -eu

# shellcheck source=test/package/lib.sh
. "${here:?}/lib.sh"
tmp=$(mktemp -d)
# shellcheck source=test/package/systemctl.sh
. "$here/systemctl.sh"
cd /
# Images of containers leave manual pages out.
rm -f /etc/dpkg/dpkg.cfg.d/*
# Documentation is looked up by name in a database that dpkg's triggers renew: for
# minutes on a busy host, and not ours.
rm -f /var/lib/dpkg/info/man-db.triggers /var/lib/dpkg/triggers/File
# Small enough for here.
export DEB_COMPRESS=gzip

make_deb() {
	SOURCE_DATE_EPOCH=1000000000 "${top:?}/packaging/deb.sh" "$(dpkg --print-architecture)" "$top/build/kmesh-node" \
		"$top/build/share" "$1" "$tmp/$1.deb"
}

# Files but dpkg's own, and those of the data plane's run.
changes() { tree "$UPPER" | not_of_host | grep -v -E ' \./(var/(lib/dpkg|log|cache)/|usr/share/info/dir)' || :; }

# The links that are attached, by id: the same ids are the same attachments.
links() { kmesh-node status | awk '$1 == "LINK" { on = 1 } on && !NF { exit } on { print $1, $2 }'; }

follows() { KMESH_NODE=/usr/sbin/kmesh-node "$top/scripts/demo.sh" workload; }

the_same_files_give_the_same_package() {
	make_deb 1.0~rc1
	sum=$(sha256sum <"$tmp/1.0~rc1.deb")
	(umask 077 && TZ=Asia/Tokyo make_deb 1.0~rc1)
	same package "$sum" "$(sha256sum <"$tmp/1.0~rc1.deb")"
	make_deb 1.0
}

it_installs_and_starts_nothing() {
	changes >"$tmp/before"
	: >"$called"
	dpkg -i "$tmp/1.0~rc1.deb"
	same "calls of systemctl" daemon-reload "$(cat "$called")"
	dpkg --verify kmesh-node >"$tmp/verify"
	[ ! -s "$tmp/verify" ] || fail "$(cat "$tmp/verify")"
	[ -d /etc/kmesh-node ] && [ ! -e /sys/fs/bpf/kmesh_node ]
	kmesh-node version >/dev/null
	has /usr/share/doc/kmesh-node/copyright Apache-2.0
	zcat /usr/share/doc/kmesh-node/changelog.gz >"$tmp/changelog"
	has "$tmp/changelog" 'kmesh-node (1.0~rc1)'
	for file in /usr/share/man/man8/kmesh-node.8.gz /usr/share/zsh/vendor-completions/_kmesh-node; do
		dpkg -S "$file" | grep -q '^kmesh-node:'
	done
	# install.sh does not write over it.
	rc=0
	"$top/scripts/install.sh" 2>"$tmp/out" || rc=$?
	same "exit code of install.sh" 10 "$rc"
	has "$tmp/out" "of a Debian package"
	rc=0
	"$top/scripts/uninstall.sh" 2>"$tmp/out" || rc=$?
	same "exit code of uninstall.sh" 10 "$rc"
}

an_upgrade_and_a_downgrade_keep_the_data_plane() {
	kmesh-node --log-level warning up
	kmesh-node apply -f "$top/example/workload"
	follows
	links >"$tmp/links"
	[ "$(wc -l <"$tmp/links")" -ge 4 ] || fail "$(cat "$tmp/links")"
	echo KMESH_NODE_LOG_LEVEL=debug >>/etc/default/kmesh-node
	: >/etc/kmesh-node/mine
	for next in 1.0 1.0~rc1 1.0; do
		: >"$called"
		dpkg -i "$tmp/$next.deb" </dev/null
		same "version" "$next" "$(dpkg-query -W -f '${Version}' kmesh-node)"
		same "calls of systemctl" "$(printf 'daemon-reload\ntry-restart kmesh-node.service')" "$(cat "$called")"
		same "links after $next" "$(cat "$tmp/links")" "$(links)"
		has /etc/default/kmesh-node KMESH_NODE_LOG_LEVEL=debug
		[ -e /etc/kmesh-node/mine ]
	done
	follows
}

a_restart_that_fails_does_not_hold_dpkg_up() {
	echo try-restart >"$tmp/refuse"
	dpkg -i "$tmp/1.0.deb" >"$tmp/out" 2>&1 </dev/null
	rm "$tmp/refuse"
	has "$tmp/out" "the data plane stays as it was"
	same "state" "install ok installed" "$(dpkg-query -W -f '${Status}' kmesh-node)"
	same "links" "$(cat "$tmp/links")" "$(links)"
}

a_removal_that_cannot_take_the_data_plane_down_removes_nothing() {
	kmesh-node run 2>"$tmp/run" &
	run=$!
	until grep -q 'up: ' "$tmp/run"; do kill -0 "$run"; done
	rc=0
	dpkg -r kmesh-node >"$tmp/out" 2>&1 || rc=$?
	kill "$run"
	wait "$run" || fail "$(cat "$tmp/run")"
	[ "$rc" -ne 0 ] || fail "it is removed beside one that runs"
	has "$tmp/out" "the package stays"
	same "state" installed "$(dpkg-query -W -f '${db:Status-Status}' kmesh-node)"
	kmesh-node status >/dev/null
	mkdir -p /etc/cni/net.d
	echo '{"type": "kmesh-cni"' >/etc/cni/net.d/10-bad.conflist
	rc=0
	dpkg -r kmesh-node >"$tmp/out" 2>&1 || rc=$?
	rm -r /etc/cni
	[ "$rc" -ne 0 ] || fail "it is removed while a network names the plugin"
	has "$tmp/out" "the CNI plugin could not be uninstalled: the package stays"
	same "state" installed "$(dpkg-query -W -f '${db:Status-Status}' kmesh-node)"
	kmesh-node status >/dev/null
}

a_removal_takes_the_data_plane_down() {
	: >"$called"
	dpkg -r kmesh-node >"$tmp/out" 2>&1
	same "calls of systemctl" "$(printf 'disable --now kmesh-node.service\ndaemon-reload')" "$(cat "$called")"
	[ ! -e /sys/fs/bpf/kmesh_node ] && [ ! -e /run/kmesh-node ]
	find "$UPPER" -type f -name '*kmesh*' ! -path '*/var/lib/dpkg/*' | LC_ALL=C sort >"$tmp/left"
	same "what is left" "$UPPER/etc/default/kmesh-node" "$(cat "$tmp/left")"
	[ -e /etc/kmesh-node/mine ]
	# Back again, with the settings as they were.
	dpkg -i "$tmp/1.0.deb"
	has /etc/default/kmesh-node KMESH_NODE_LOG_LEVEL=debug
}

a_purge_leaves_nothing() {
	rm /etc/kmesh-node/mine
	dpkg -P kmesh-node
	same "what is left" "$(cat "$tmp/before")" "$(changes)"
	! dpkg-query -W -f '${Status}' kmesh-node 2>/dev/null || fail "dpkg knows it still"
	find /var/lib/dpkg /etc/systemd /run -name '*kmesh-node*' >"$tmp/left"
	[ ! -s "$tmp/left" ] || fail "$(cat "$tmp/left")"
}

what_others_put_into_the_configuration_stays() {
	dpkg -i "$tmp/1.0.deb"
	: >/etc/kmesh-node/mine
	dpkg -P kmesh-node >"$tmp/out" 2>&1
	has "$tmp/out" "/etc/kmesh-node"
	[ -e /etc/kmesh-node/mine ]
}

run_tests the_same_files_give_the_same_package it_installs_and_starts_nothing an_upgrade_and_a_downgrade_keep_the_data_plane \
	a_restart_that_fails_does_not_hold_dpkg_up a_removal_that_cannot_take_the_data_plane_down_removes_nothing \
	a_removal_takes_the_data_plane_down a_purge_leaves_nothing what_others_put_into_the_configuration_stays
