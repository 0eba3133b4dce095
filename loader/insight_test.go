// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAdsModeForgetsANamespaceThatIsGone(t *testing.T) {
	h := newHost(t)
	l := h.stay()
	path, stays := newNetns(t), newNetns(t)
	h.enroll(path)
	cookie := h.enroll(stays)
	h.healed(l)
	must(t, unix.Unmount(path, unix.MNT_DETACH))
	t.Cleanup(func() { must(t, unix.Mount("/proc/self/ns/net", path, "", unix.MS_BIND, "")) }) // for newNetns
	waitFor(t, "the namespace to be forgotten", func() bool {
		must1(l.Reconcile(context.Background()))(t)
		return len(h.enrolled()) == 1
	})
	if l := h.enrolled(); l[0] != cookie {
		t.Errorf("enrolled: %+v", l)
	}
	h.healed(l)
}

// A thread may be in a namespace that no file leads to, and no process begins in.
func TestANamespaceThatOnlyAThreadIsInIsThere(t *testing.T) {
	h := newHost(t)
	l := h.stay()
	in, leave, left := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		onOwnThread(func() {
			in <- unix.Unshare(unix.CLONE_NEWNET)
			<-leave
		})
		close(left)
	}()
	must(t, <-in)
	defer func() { close(leave); <-left }()
	where := must1(findNamespaces())(t)
	all := must1(namespacesOf([]uint64{1}))(t)
	var cookie uint64
	for c := range all {
		if len(where[c]) == 0 {
			cookie = c
		}
	}
	if cookie == 0 {
		t.Fatal("the thread's namespace is not found")
	}
	h.enroll(all[cookie][0])
	h.healed(l)
	if len(h.enrolled()) != 1 {
		t.Error("it was forgotten")
	}
}
