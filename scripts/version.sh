#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Make a version that dpkg takes, and orders as git does, of what `git describe
# --tags --always --dirty` says: v1.2.0-rc1 comes before v1.2.0, that before the
# commits behind it, and those by their number. Before the first tag it is the time
# of the commit that orders.
#
# usage: version.sh DESCRIBED EPOCH    EPOCH is the commit's time, in seconds
set -eu

described=${1:?usage: version.sh DESCRIBED EPOCH} epoch=${2:?usage: version.sh DESCRIBED EPOCH}
dirty=''
case $described in
*-dirty) dirty=+dirty ;;
esac
said=${described%-dirty}

# v1.2.3, v1.2.3-rc1, and either with -COUNT-gHASH behind it.
echo "$said" | sed -E -n -e "
	s/^v?([0-9][A-Za-z0-9.]*)-([0-9]+)-(g[0-9a-f]+)\$/\\1+\\2.\\3/; t done
	s/^v?([0-9][A-Za-z0-9.]*)-([a-z][A-Za-z0-9.]*)-([0-9]+)-(g[0-9a-f]+)\$/\\1~\\2+\\3.\\4/; t done
	s/^v([0-9][A-Za-z0-9.]*)-([a-z][A-Za-z0-9.]*)\$/\\1~\\2/; t done
	s/^v([0-9][A-Za-z0-9.]*)\$/\\1/; t done
	s/^[^A-Za-z0-9]*([A-Za-z0-9]+).*\$/0~git$(date -u -d "@$epoch" +%Y%m%d.%H%M%S).\\1/; t done
	:done
	s/\$/$dirty/p"
