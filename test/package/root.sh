#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Run a suite on an overlay of this host's root: what it writes lies in memory, in
# $UPPER as seen from inside, where /tmp/lower is the host's. Called in namespaces of its own, as their first process.
#
# usage: root.sh DIR SUITE      with GROUP, the cgroup to be the root of
set -eu

dir=${1:?} suite=${2:?}
echo 0 >"$GROUP/cgroup.procs"
mount -t tmpfs none "$dir"
mkdir "$dir/upper" "$dir/work" "$dir/root"
mount -t overlay none -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
root=$dir/root
mount -t proc none "$root/proc"
mount -t sysfs none "$root/sys"
mount --rbind /dev "$root/dev"
for at in run tmp mnt; do mount -t tmpfs none "$root/$at"; done
mkdir -p "$root/tmp/upper" "$root/tmp/lower" "$root${top:?}"
mount --bind / "$root/tmp/lower"
mount --bind "$dir/upper" "$root/tmp/upper"
mount --bind "$top" "$root$top"
ip link set lo up
# The cgroup becomes the root of what the suite sees.
exec unshare --cgroup --root="$root" --wd=/ env TMPDIR=/tmp UPPER=/tmp/upper "$suite"
