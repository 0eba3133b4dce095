#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Give one Debian suite more to one use of apt, without touching the host's own
# sources and lists. DIR gets lists of SUITE from the mirrors that the host's
# sources name, and DIR/apt.conf, for use as APT_CONFIG=DIR/apt.conf apt-get ...
#
# usage: apt-private.sh DIR SUITE deb|deb-src [ARCH]
# With deb the host's own sources stay visible beside SUITE, but where ARCH names
# another architecture than the host's, whose packages then are all there is.
set -eu

dir=${1:?} suite=${2:?} type=${3:?} arch=${4-}
apt=${APT_CONFIG_DIR:-/etc/apt}
mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/parts"
dir=$(cd "$dir" && pwd)

# mirrors: the URIs of the host's Debian archives, each once: of a Debian suite
# with a component main, as other vendors name suites after Debian's too.
# Security archives are laid out differently and hold no release of their own.
mirrors() {
	{
		# One line each: deb [options] URI SUITE COMPONENT…
		cat "$apt/sources.list" "$apt"/sources.list.d/*.list 2>/dev/null |
			sed -n 's/^[[:space:]]*deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}//p' |
			awk '{ uri = $1; suite = $2; $1 = $2 = ""; print uri "|" suite "|" $0 }'
		# Stanzas of fields, whose values may go on in lines that begin with
		# a blank.
		cat "$apt"/sources.list.d/*.sources 2>/dev/null | awk '
			/^#/ { next }
			function flush(  i, n, u) {
				n = split(f["uris"], u)
				if (f["enabled"] !~ /^ *no/)
					for (i = 1; i <= n; i++) print u[i] "|" f["suites"] "|" f["components"]
				split("", f)
			}
			/^[[:space:]]*$/ { flush(); next }
			/^[[:space:]]/ { f[key] = f[key] " " $0; next }
			{ i = index($0, ":"); key = tolower(substr($0, 1, i - 1)); f[key] = substr($0, i + 1) }
			END { flush() }'
	} | awk -F '|' '
		(" " $2 " ") ~ / (bookworm|trixie|forky|stable|testing|sid) / && (" " $3 " ") ~ / main / && $1 !~ /security/ {
			sub("/*$", "", $1); print $1
		}' | sort -u
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
if [ "$type" = deb ] && [ -z "$arch" ]; then
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
if [ -n "$arch" ]; then
	printf 'APT::Architecture "%s";\nAPT::Architectures { "%s"; };\n' "$arch" "$arch" >>"$dir/apt.conf"
fi
# A mirror that lacks the suite is no reason to give up while another has it.
APT_CONFIG=$dir/apt.conf apt-get -qq update >&2 || echo "apt-private: not every mirror has $suite" >&2
