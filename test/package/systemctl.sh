# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
#
# A systemd for the suites that have none: $called has what systemctl was asked, and
# it refuses what $tmp/refuse names.
# The real one is met by `make test-systemd`.

# shellcheck disable=SC2154 # of who sources this
mkdir -p /run/systemd/system "$tmp/bin" "$tmp/units"
called=$tmp/called
cat >"$tmp/bin/systemctl" <<END
#!/bin/sh
echo "\$*" >>$called
if [ "\$1" = "\$(cat $tmp/refuse 2>/dev/null)" ]; then exit 1; fi
case \$1 in
is-active | is-enabled) [ -e "$tmp/units/\${1#is-}" ] ;;
cat) [ -e /usr/lib/systemd/system/kmesh-node.service ] ;;
start) : >$tmp/units/active ;;
enable) : >$tmp/units/enabled ;;
disable) rm -f $tmp/units/active $tmp/units/enabled ;;
esac
END
chmod +x "$tmp/bin/systemctl"
: >"$called"
PATH=$tmp/bin:$PATH
export PATH
