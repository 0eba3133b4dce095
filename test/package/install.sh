#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# install.sh and uninstall.sh on a host of their own, see root.sh.
set -eu

# shellcheck source=test/package/lib.sh
. "${here:?}/lib.sh"
tmp=$(mktemp -d)
# shellcheck source=test/package/systemctl.sh
. "$here/systemctl.sh"
cd /

install_() { "${top:?}/scripts/install.sh" --share "$top/build/share" "$@"; }
# What was written over this host's root.
changes() { tree "$UPPER" | not_of_host; }

nothing_is_there_that_was_not_put_there() {
	before=$(changes)
	install_ >"$tmp/out"
	for file in /usr/sbin/kmesh-node /usr/lib/kmesh-node/start-pre /usr/lib/systemd/system/kmesh-node.service /etc/default/kmesh-node \
		/usr/share/man/man8/kmesh-node.8.gz; do has "$tmp/out" "installed $file"; done
	find "$UPPER" -type f ! -path '*kmesh-node*' >"$tmp/strange"
	[ ! -s "$tmp/strange" ] || fail "$(cat "$tmp/strange")"
	/usr/sbin/kmesh-node version >/dev/null
	after=$(changes)
	# Again, from the archive's place of the script, and from another directory.
	(cd /usr && "$top/scripts/install.sh") >"$tmp/out"
	has_not "$tmp/out" "install: installed"
	same "the second time" "$after" "$(changes)"
	/usr/lib/kmesh-node/uninstall >"$tmp/out"
	same "after the removal" "$before" "$(changes)"
	"$top/scripts/uninstall.sh" >"$tmp/out"
	has "$tmp/out" "nothing is installed"
}

a_plugin_of_the_runtime_is_kept_new_and_taken_away() {
	plugin=/opt/cni/bin/kmesh-cni
	install_ >"$tmp/out"
	[ ! -e "$plugin" ] || fail "nobody asked for $plugin"
	mkdir -p /opt/cni/bin
	echo old >"$plugin"
	install_ >"$tmp/out"
	has "$tmp/out" "installed $plugin"
	cmp /usr/sbin/kmesh-node "$plugin"
	# A network that may name it and cannot be edited.
	mkdir -p /etc/cni/net.d
	echo '{"type": "kmesh-cni"' >/etc/cni/net.d/10-bad.conflist
	rc=0
	/usr/lib/kmesh-node/uninstall >"$tmp/out" 2>&1 || rc=$?
	same "exit code" 13 "$rc"
	has "$tmp/out" "nothing was removed"
	rm -r /etc/cni
	# A pod for which the runtime calls it once more.
	pods=/run/kmesh-node/sys%2Ffs%2Fbpf.pods
	mkdir -p "$pods"
	: >"$pods/a@eth0.json"
	/usr/lib/kmesh-node/uninstall >"$tmp/out"
	has "$tmp/out" "$plugin stays: the runtime calls it for 1 pods"
	install_ >"$tmp/out"
	/usr/lib/kmesh-node/uninstall >"$tmp/out"
	has "$tmp/out" "uninstalled: $plugin"
	[ ! -e "$plugin" ] || fail "$plugin is still there"
}

modes_are_those_of_a_package() {
	(umask 077 && install_ --destdir "$tmp/modes")
	find "$tmp/modes" -type d ! -perm 755 -o -type f ! -perm 644 ! -perm 755 -o ! -user 0 -o ! -group 0 >"$tmp/strange"
	[ ! -s "$tmp/strange" ] || fail "$(cat "$tmp/strange")"
	[ -x "$tmp/modes/usr/lib/kmesh-node/enroll" ] && [ ! -x "$tmp/modes/usr/lib/kmesh-node/common.sh" ]
	: >"$called"
	same "calls of systemctl" "" "$(cat "$called")"
}

another_prefix_is_in_the_unit_too() {
	install_ --destdir "$tmp/local" --prefix /usr/local
	has_not "$tmp/local/usr/local/lib/systemd/system/kmesh-node.service" /usr/sbin
	has "$tmp/local/usr/local/lib/systemd/system/kmesh-node.service" /usr/local/sbin/kmesh-node
	has "$tmp/local/usr/local/lib/systemd/system/kmesh-node.service" /usr/local/lib/kmesh-node/start-pre
	[ ! -e "$tmp/local/usr/sbin" ]
	"$tmp/local/usr/local/lib/kmesh-node/stop-post" >/dev/null
	"$top/scripts/uninstall.sh" --destdir "$tmp/local" --prefix /usr/local
	same "what is left" "" "$(find "$tmp/local" -mindepth 1)"
}

# fails_at TOOL N CMD…: the Nth call of TOOL fails.
fails_at() {
	tool=$1 at=$2
	shift 2
	mkdir -p "$tmp/broken"
	: >"$tmp/calls"
	cat >"$tmp/broken/$tool" <<END
#!/bin/sh
echo x >>$tmp/calls
if [ "\$(wc -l <$tmp/calls)" -eq $at ]; then echo "$tool: no space" >&2; exit 1; fi
exec $(command -v "$tool") "\$@"
END
	chmod +x "$tmp/broken/$tool"
	rc=0
	PATH=$tmp/broken:$PATH "$@" >"$tmp/out" 2>&1 || rc=$?
	rm -rf "$tmp/broken"
	return "$rc"
}

# Wherever it fails, all is as before: without, and over an older one.
a_failure_anywhere_leaves_what_was() {
	for older in no yes; do
		if [ "$older" = yes ]; then
			install_
			echo '# older' >>/usr/lib/kmesh-node/enroll
		fi
		before=$(changes)
		tools='install mv gzip mkdir'
		if [ "$older" = yes ]; then tools='mv cp'; fi
		for tool in $tools; do
			n=0
			while n=$((n + 1)) && ! fails_at "$tool" "$n" install_; do
				same "$tool, call $n, older: $older" "$before" "$(changes)"
				has "$tmp/out" "failed; all is as it was before"
			done
			# It went through, as there are no more calls.
			[ "$n" -gt 1 ] || fail "$tool is never called"
			if [ "$older" = yes ]; then echo '# older' >>/usr/lib/kmesh-node/enroll; else "$top/scripts/uninstall.sh"; fi
		done
	done
	"$top/scripts/uninstall.sh"
}

settings_that_were_changed_are_kept() {
	install_
	echo KMESH_NODE_LOG_LEVEL=debug >>/etc/default/kmesh-node
	mine=$(cat /etc/default/kmesh-node)
	for _ in 1 2; do
		install_ >"$tmp/out"
		has "$tmp/out" "stays as it was changed"
		same settings "$mine" "$(cat /etc/default/kmesh-node)"
	done
	: >/etc/kmesh-node/mine.json
	"$top/scripts/uninstall.sh" >"$tmp/out"
	has "$tmp/out" "/etc/default/kmesh-node stays"
	has "$tmp/out" "/etc/kmesh-node stays"
	same settings "$mine" "$(cat /etc/default/kmesh-node)"
	install_
	"$top/scripts/uninstall.sh" --purge
	[ ! -e /etc/default/kmesh-node ] && [ -e /etc/kmesh-node/mine.json ]
	rm -r /etc/kmesh-node
}

a_file_that_a_version_has_no_more_goes() {
	install_
	: >/usr/lib/kmesh-node/former
	echo 'f /usr/lib/kmesh-node/former 0' >>/usr/lib/kmesh-node/installed
	install_ >"$tmp/out"
	has "$tmp/out" "removed /usr/lib/kmesh-node/former"
	[ ! -e /usr/lib/kmesh-node/former ]
	"$top/scripts/uninstall.sh"
}

systemd_is_told_and_starts_nothing_unasked() {
	: >"$called"
	install_ >"$tmp/out"
	same "calls of systemctl" "daemon-reload" "$(grep -v '^is-' "$called")"
	has "$tmp/out" "systemctl enable --now kmesh-node"
	: >"$called"
	install_ --enable
	same "calls of systemctl" "$(printf 'daemon-reload\nenable kmesh-node\nstart kmesh-node')" "$(grep -v '^is-' "$called")"
	: >"$called"
	install_ >"$tmp/out"
	has "$tmp/out" "systemctl restart kmesh-node"
	has_not "$called" restart
	"$top/scripts/uninstall.sh"
	has "$called" "disable --now kmesh-node"
}

one_that_runs_goes_on_while_its_file_is_exchanged() {
	install_
	kmesh-node --log-level warning run &
	run=$!
	until kmesh-node status >"$tmp/out" 2>&1; do kill -0 "$run"; done
	cp /usr/sbin/kmesh-node "$tmp/other"
	echo other >>"$tmp/other"
	install_ --binary "$tmp/other"
	cmp "$tmp/other" /usr/sbin/kmesh-node
	kill -0 "$run"
	kmesh-node status >/dev/null
	# Beside one that runs nothing can be taken down, and so nothing is removed.
	rc=0
	"$top/scripts/uninstall.sh" >"$tmp/out" 2>&1 || rc=$?
	same "exit code" 15 "$rc"
	has "$tmp/out" "nothing was removed"
	[ -x /usr/sbin/kmesh-node ]
	kill "$run"
	wait "$run"
	"$top/scripts/uninstall.sh" --keep >"$tmp/out"
	has "$tmp/out" "the data plane stays"
	[ ! -e /usr/sbin/kmesh-node ] && [ -d /sys/fs/bpf/kmesh_node ]
	install_
	"$top/scripts/uninstall.sh"
	[ ! -e /sys/fs/bpf/kmesh_node ] && [ ! -e /run/kmesh-node ]
}

a_systemd_that_refuses_leaves_what_was() {
	before=$(changes)
	for what in daemon-reload enable start; do
		: >"$called"
		echo "$what" >"$tmp/refuse"
		rc=0
		install_ --enable >"$tmp/out" 2>&1 || rc=$?
		rm "$tmp/refuse"
		[ "$rc" -ne 0 ] || fail "$what fails, and nobody says so"
		has "$tmp/out" "failed; all is as it was before"
		same "after $what" "$before" "$(changes)"
		same "units after $what" "" "$(ls "$tmp/units")"
		same "the last call" daemon-reload "$(tail -n 1 "$called")"
	done
}

bad_usage_is_told() {
	for args in '--prefix' '--prefix relative' '--prefix /a&b' '--prefix /a%b' '--bogus' '--enable --destdir /x'; do
		rc=0
		# shellcheck disable=SC2086 # words
		install_ $args 2>"$tmp/out" || rc=$?
		same "exit code of $args" 2 "$rc"
	done
}

run_tests nothing_is_there_that_was_not_put_there a_plugin_of_the_runtime_is_kept_new_and_taken_away modes_are_those_of_a_package another_prefix_is_in_the_unit_too \
	a_failure_anywhere_leaves_what_was settings_that_were_changed_are_kept a_file_that_a_version_has_no_more_goes \
	systemd_is_told_and_starts_nothing_unasked one_that_runs_goes_on_while_its_file_is_exchanged \
	a_systemd_that_refuses_leaves_what_was bad_usage_is_told
