// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openPin returns a descriptor of the object that is pinned at path.
func openPin(path string) (int, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	attr := struct {
		pathname uint64
		fd       uint32
		flags    uint32
	}{pathname: uint64(uintptr(unsafe.Pointer(name)))}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_OBJ_GET,
		uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return -1, fmt.Errorf("open pin %s: %w", path, errno)
	}
	return int(fd), nil
}

// pinnedID returns the id of the pinned object, as "prog 12".
func pinnedID(path string) (string, error) {
	fd, err := openPin(path)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	info, err := fdinfo(fd)
	if err != nil {
		return "", err
	}
	// A link's fdinfo names its program too.
	for _, kind := range []string{"link", "map", "prog"} {
		if id := info[kind+"_id"]; id != "" {
			return kind + " " + id, nil
		}
	}
	return "", fmt.Errorf("fdinfo of %s: no id in %q", path, info)
}

// fdinfo is what the kernel tells about a descriptor.
func fdinfo(fd int) (map[string]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return nil, err
	}
	info := map[string]string{}
	for _, line := range strings.Split(string(data), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			info[k] = strings.TrimSpace(v)
		}
	}
	return info, nil
}

// mapElem writes (BPF_MAP_UPDATE_ELEM) or removes (BPF_MAP_DELETE_ELEM) an
// element of the map that is pinned at path.
func mapElem(path string, cmd uintptr, key, value []byte) error {
	fd, err := openPin(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := mapCommand(cmd, fd, key, value); err != nil {
		return fmt.Errorf("change element of %s: %w", path, err)
	}
	return nil
}

// mapCommand has the kernel do something with an element; key or value may be nil.
func mapCommand(cmd uintptr, fd int, key, value []byte) error {
	attr := struct {
		fd    uint32
		_     uint32
		key   uint64
		value uint64
		flags uint64
	}{fd: uint32(fd), key: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(key)))),
		value: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(value))))}
	return bpfCommand(cmd, &attr)
}

// detachLink takes a link off its hook, as bpftool link detach does.
func detachLink(path string) error {
	fd, err := openPin(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	attr := struct{ fd uint32 }{uint32(fd)}
	if err := bpfCommand(unix.BPF_LINK_DETACH, &attr); err != nil {
		return fmt.Errorf("detach link %s: %w", path, err)
	}
	return nil
}

func bpfCommand[T any](cmd uintptr, attr *T) error {
	if _, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr)); errno != 0 {
		return errno
	}
	return nil
}
