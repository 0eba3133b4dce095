// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Shared says that others use BPF on this machine at the same time, by
// KMESH_E2E_SHARED=1: what is the whole kernel's is not compared then.
func Shared() bool { return os.Getenv("KMESH_E2E_SHARED") == "1" }

// Objects are the kernel's programs, maps and links, each as "map 12"; none where the
// machine is shared.
//
// It asks for ids alone. A PROG_ARRAY that is opened while the kernel clears it, after its
// last user went, is never freed: prog_array_map_clear takes a reference for its work each
// time, and loses it when the work is pending already.
func Objects() (map[string]bool, error) {
	ids := map[string]bool{}
	if Shared() {
		return ids, nil
	}
	for kind, next := range map[string]uintptr{
		"prog": unix.BPF_PROG_GET_NEXT_ID, "map": unix.BPF_MAP_GET_NEXT_ID, "link": unix.BPF_LINK_GET_NEXT_ID,
	} {
		for id := uint32(0); ; {
			attr := struct{ start, next, flags uint32 }{start: id}
			_, _, errno := unix.Syscall(unix.SYS_BPF, next, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
			if errno == unix.ENOENT {
				break
			}
			if errno != 0 {
				return nil, fmt.Errorf("next id of a %s: %w", kind, errno)
			}
			id = attr.next
			ids[fmt.Sprintf("%s %d", kind, id)] = true
		}
	}
	return ids, nil
}

// Describe is what bpftool tells of one of the Objects.
func Describe(object string) string {
	kind, id, _ := strings.Cut(object, " ")
	out, err := exec.Command("bpftool", kind, "show", "id", id).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s: %v", object, err)
	}
	return object + ": " + strings.TrimSpace(string(out))
}

// NothingLeft fails where an object that came after before was taken stays. The kernel
// frees objects after their last user is gone, so it is given the time for it.
func NothingLeft(before map[string]bool) error {
	var left []string
	err := Eventually(func() error {
		now, err := Objects()
		if err != nil {
			return err
		}
		maps.DeleteFunc(now, func(o string, _ bool) bool { return before[o] })
		if left = slices.Sorted(maps.Keys(now)); len(left) > 0 {
			return errors.New("left behind")
		}
		return nil
	})
	for _, o := range left {
		err = errors.Join(err, errors.New(Describe(o)))
	}
	return err
}
