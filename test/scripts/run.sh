#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Tests of scripts/ with stand-ins for the package managers: what they are asked
# for, and what a person is told.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0 passed=0

# A PATH with nothing in it but the tools that the scripts themselves need.
bare() {
	rm -rf "${tmp:?}/bin"
	mkdir "$tmp/bin"
	for tool in sh dirname id tr awk cut grep sed find sort uname head tail cat mkdir mktemp rm env; do
		ln -s "$(command -v "$tool")" "$tmp/bin/$tool"
	done
}

# stub NAME [LINE…]: a command that notes how it was called. A link of that name
# goes first: writing through it would replace the host's own tool.
stub() {
	name=$1
	shift
	rm -f "$tmp/bin/$name"
	{
		printf '#!/bin/sh\necho "%s $*" >>"%s/called"\n' "$name" "$tmp"
		printf '%s\n' "$@"
	} >"$tmp/bin/$name"
	chmod +x "$tmp/bin/$name"
}

# run WANT CMD…: its output is in $tmp/out; fails when it exits otherwise.
run() {
	want=$1
	shift
	: >"$tmp/called"
	code=0
	env PATH="$tmp/bin" "$@" >"$tmp/out" 2>&1 || code=$?
	[ "$code" -eq "$want" ] || {
		echo "exit code $code, not $want:"
		cat "$tmp/out"
		return 1
	}
}

# has FILE TEXT: fails when TEXT is not in it.
has() {
	grep -q -F -e "$2" "$tmp/$1" || {
		echo "no \"$2\" in:"
		cat "$tmp/$1"
		return 1
	}
}

not_called() {
	! grep -v '^id ' "$tmp/called" || {
		echo "called: $(cat "$tmp/called")"
		return 1
	}
}

dnf_gets_fedora_names_and_what_is_not_there_is_named() {
	bare && stub dnf && stub id 'echo 0' &&
		run 1 "$top/scripts/deps.sh" test &&
		has called "dnf install -y make gcc" && has called elfutils-libelf-devel-static &&
		has called ShellCheck && has out "lib:protobuf-c (no package here: build it from source)"
}

zypper_gets_suse_names_without_questions() {
	bare && stub zypper && stub id 'echo 0' &&
		run 1 "$top/scripts/deps.sh" build &&
		has called "zypper --non-interactive install --no-recommends make" && has called zlib-devel-static &&
		has out "still missing: cmd:make (make)"
}

a_package_manager_that_fails_is_not_hidden() {
	bare && stub dnf 'exit 7' && stub id 'echo 0' &&
		run 1 "$top/scripts/deps.sh" build && has out "dnf could not install"
}

without_root_nothing_is_installed_and_the_command_is_given() {
	bare && stub apt-get && stub id 'echo 1000' &&
		run 1 "$top/scripts/deps.sh" build &&
		has out "sudo scripts/deps.sh build" && has out "clang-19" && not_called
}

an_unknown_distribution_gets_the_list() {
	bare && run 1 "$top/scripts/deps.sh" build && has out "no apt-get, dnf or zypper" && has out "libelf-dev"
}

a_complete_host_is_left_alone() {
	bare && stub apt-get && stub id 'echo 0'
	PATH=$tmp/bin:$PATH "$top/scripts/deps.sh" test >"$tmp/out" 2>&1 &&
		has out "everything for 'test' is here" && not_called
}

deps_needs_to_know_what_for() { bare && run 2 "$top/scripts/deps.sh" && has out usage; }

mirrors_are_taken_from_both_forms_of_sources() {
	bare && stub apt-get && mkdir -p "$tmp/etc/sources.list.d" || return 1
	cat >"$tmp/etc/sources.list" <<-END
		# deb http://commented.example/debian bookworm main
		deb [arch=amd64 signed-by=/k] http://one.example/debian/ bookworm main contrib
		deb http://security.example/debian-security bookworm-security main
		deb https://vendor.example/linux/debian bookworm stable
		deb https://vendor.example/apt vendor-bookworm main
	END
	cat >"$tmp/etc/sources.list.d/a.sources" <<-END
		Types: deb
		# URIs: http://commented.example/debian
		URIs: http://two.example/debian
		 http://three.example/debian
		Suites: bookworm bookworm-updates
		Components: main

		Enabled: no
		Types: deb
		URIs: http://off.example/debian
		Suites: bookworm
	END
	run 0 env APT_CONFIG_DIR="$tmp/etc" "$top/scripts/apt-private.sh" "$tmp/private" trixie deb-src || return 1
	for host in one two three; do
		grep -q "^deb-src .* http://$host.example/debian trixie main" "$tmp/private/sources.list" || {
			echo "no $host in:"
			cat "$tmp/private/sources.list"
			return 1
		}
	done
	if grep -e commented -e security -e vendor -e off.example "$tmp/private/sources.list"; then return 1; fi
	has called "apt-get -qq update"
}

a_host_without_a_debian_mirror_is_told_so() {
	bare && stub apt-get && mkdir -p "$tmp/none" &&
		run 1 env APT_CONFIG_DIR="$tmp/none" "$top/scripts/apt-private.sh" "$tmp/private2" trixie deb-src &&
		has out "no Debian mirror" && not_called
}

go_that_is_too_old_is_passed_over() {
	bare && stub go 'echo go1.19.8' && run 0 "$top/scripts/go.sh" || return 0
	if grep -q "$tmp" "$tmp/out"; then return 1; fi
}

a_go_that_can_fetch_its_toolchain_is_taken() {
	bare && stub go 'echo go1.21.0' && run 0 "$top/scripts/go.sh" && has out "$tmp/bin/go"
}

tests=$(sed -n 's/^\([a-z_]*\)() .*/\1/p' "$0" | grep -v -x -e bare -e stub -e run -e has -e not_called)
for name in $tests; do
	if said=$("$name" 2>&1); then
		echo "--- PASS: $name"
		passed=$((passed + 1))
	else
		echo "--- FAIL: $name"
		echo "$said"
		failed=$((failed + 1))
	fi
done
[ "$failed" -eq 0 ]
