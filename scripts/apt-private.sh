#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Give one Debian suite more to one use of apt, without touching the host's own
# sources and lists. DIR gets lists of SUITE from the mirrors that the host's
# sources name, and DIR/apt.conf, for use as APT_CONFIG=DIR/apt.conf apt-get ...
#
# usage: apt-private.sh DIR SUITE deb|deb-src
# With deb the host's own sources stay visible beside SUITE.
set -eu

dir=${1:?} suite=${2:?} type=${3:?}
apt=${APT_CONFIG_DIR:-/etc/apt}
mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/parts"
dir=$(cd "$dir" && pwd)

# mirrors: the URIs of the host's Debian archives, each once. Security archives
# are laid out differently and hold no release of their own.
mirrors() {
	{
		cat "$apt/sources.list" "$apt"/sources.list.d/*.list 2>/dev/null |
			sed -n 's/^[[:space:]]*deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}//p' |
			awk '{ print $1, $2 }'
		# A stanza of deb822: fields of one paragraph, values on one line
		# or continued on lines that begin with a blank.
		cat "$apt"/sources.list.d/*.sources 2>/dev/null | awk '
			/^#/ { next }
			function flush(  i, n, u) {
				n = split(f["uris"], u)
				if (f["enabled"] !~ /^[ ]*no/)
					for (i = 1; i <= n; i++) print u[i], f["suites"]
				split("", f); key = ""
			}
			/^[[:space:]]*$/ { flush(); next }
			/^[[:space:]]/ { f[key] = f[key] " " $0; next }
			{ i = index($0, ":"); key = tolower(substr($0, 1, i - 1)); f[key] = substr($0, i + 1) }
			END { flush() }'
	} | grep -E ' (bookworm|trixie|stable|testing|sid|forky)( |$|-updates|-backports)' |
		cut -d' ' -f1 | sed 's,/*$,,' | grep -v -e security | sort -u
}

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
: >"$dir/sources.list"
for uri in $(mirrors); do
	echo "$type [signed-by=$keyring] $uri $suite main" >>"$dir/sources.list"
done
[ -s "$dir/sources.list" ] || {
	echo "apt-private: no Debian mirror among this host's apt sources ($apt)" >&2
	exit 1
}

parts=$dir/parts
if [ "$type" = deb ]; then
	parts=$apt/sources.list.d
	if [ -f "$apt/sources.list" ]; then cat "$apt/sources.list" >>"$dir/sources.list"; fi
fi
cat >"$dir/apt.conf" <<END
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "$parts";
Dir::State::lists "$dir/lists";
Dir::Cache "$dir/cache";
APT::Sandbox::User "root";
END
APT_CONFIG=$dir/apt.conf apt-get -qq update >&2
