#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
#
# The first process of a virtual machine of `make test-vm`: makes a host of it,
# runs the end-to-end tests that /tests names, and switches off. Results go to the
# second serial port; the last line is "rc N".

/bin/busybox mkdir -p /proc /sys /dev /run /mnt /tmp /usr/bin /usr/sbin /sbin /var /root
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/bin HOME=/root
mount -t proc none /proc
mount -t sysfs none /sys
mount -t securityfs none /sys/kernel/security
mount -t devtmpfs none /dev
mount -t tmpfs none /run
mount -t tmpfs none /tmp
mkdir -p /etc /run/netns
echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd
exec >/dev/ttyS1 2>&1

for m in /mod/*.ko; do insmod "$m"; done
mount -t bpf none /sys/fs/bpf
mkdir -p /sys/fs/cgroup
case "$(cat /cgroups)" in
unified)
	mount -t cgroup2 none /sys/fs/cgroup
	;;
hybrid)
	# As systemd's hybrid hierarchy is: the controllers by version 1, and version 2
	# for its own use. Groups of net_cls and net_prio are in use.
	mount -t tmpfs none /sys/fs/cgroup
	for controllers in cpu,cpuacct memory net_cls,net_prio unified; do
		at=/sys/fs/cgroup/$controllers
		mkdir "$at"
		case $controllers in
		unified) mount -t cgroup2 none "$at" ;;
		*) mount -t cgroup -o "$controllers" none "$at" ;;
		esac
	done
	mkdir /sys/fs/cgroup/net_cls,net_prio/some
	echo 0x10001 >/sys/fs/cgroup/net_cls,net_prio/some/net_cls.classid
	export KMESH_E2E_ROOT_CGROUP=1
	;;
esac
ip link set lo up

cd /repo/test/e2e || exit
# What a subtest says when it begins is left out: each byte costs.
{
	/repo/build/test/e2e -test.v -test.run "$(cat /tests)"
	echo "rc $?"
} 2>&1 | awk '!/^=== .*\// { print; fflush() }'
# What the kernel complains of counts, whatever the tests say.
dmesg | grep -E 'BUG:|WARNING:|Oops|possible recursive locking|soft lockup|rcu.*stall' | sed 's/^/kernel: /'
echo "end $(cut -d' ' -f1 /proc/uptime)"
# Setting a terminal waits until all is sent.
stty -F /dev/ttyS1 raw
poweroff -f
