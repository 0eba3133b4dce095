// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// namespacesOf is findNamespaces, which looks at one thread of each process, and looks
// at the others as well where something enrolled is not in sight: before it is taken
// for gone.
func namespacesOf(enrolled []uint64) (map[uint64][]string, error) {
	where, err := findNamespaces()
	if err != nil {
		return nil, err
	}
	out := func(c uint64) bool { return len(where[c]) == 0 }
	if !slices.ContainsFunc(enrolled, out) {
		return where, nil
	}
	threads, err := filepath.Glob("/proc/[1-9]*/task/[1-9]*")
	if err != nil {
		return nil, err
	}
	seen := map[uint64]bool{}
	for _, t := range threads {
		path := t + "/ns/net"
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || seen[st.Ino] {
			continue // the thread has ended, perhaps
		}
		seen[st.Ino] = true
		if c, err := cookieAt(path); err == nil && out(c) {
			where[c] = append(where[c], path)
		}
	}
	return where, nil
}

// seesAll says whether a namespace that is not in sight is gone. Before Linux 5.14 none
// is found by its cookie, and without CAP_SYS_PTRACE not by a process that has more
// capabilities than this one.
func seesAll() bool {
	_, unknown := ownCookie()
	have, err := effectiveCaps()
	return unknown == nil && err == nil && have&(1<<unix.CAP_SYS_PTRACE) != 0
}

// gonePods lists the enrolled namespaces of which nothing is left, in ads mode: there
// no device tells that one is alive.
func gonePods(enrolled []uint64) ([]uint64, error) {
	if len(enrolled) == 0 || !seesAll() {
		return nil, nil
	}
	where, err := namespacesOf(enrolled)
	if err != nil {
		return nil, attachError("find namespaces", "km_netns", err, "mount /proc")
	}
	return slices.DeleteFunc(slices.Sorted(slices.Values(enrolled)), func(c uint64) bool { return len(where[c]) > 0 }), nil
}

// forgetPods takes the enrolments of ads mode back whose namespace is gone.
func (k *node) forgetPods() error {
	if k.cfg.Mode != Ads {
		return nil // attachPods does
	}
	cookies, err := netnsKeys(k.fds["km_netns"])
	if err != nil {
		return attachError("forget namespaces", "km_netns", err, "")
	}
	gone, err := gonePods(cookies)
	if err != nil {
		return err
	}
	for _, c := range gone {
		if err := k.forgetPod(c); err != nil {
			return err
		}
	}
	return nil
}
