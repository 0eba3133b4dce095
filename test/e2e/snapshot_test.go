// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hostState is what kmesh-node could leave behind, each thing by kind and name.
type hostState map[string]bool

// snapshot asks bpftool for the programs, maps and links of the whole kernel,
// and looks at this process's mounts, bpffs pins and named namespaces.
func snapshot() (hostState, error) {
	s := hostState{}
	for _, kind := range []string{"prog", "map", "link"} {
		if shared() {
			break
		}
		if err := s.addObjects(kind); err != nil {
			return nil, err
		}
	}
	if shared() && os.Getpid() != 1 {
		return s, nil
	}
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		s["mount "+m.String()] = true
		if m.fsType != "bpf" {
			continue
		}
		if err := s.addFiles("pin", m.point); err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{"/run/netns", "/run/kmesh-node"} {
		if err := s.addFiles("file", dir); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s hostState) addObjects(kind string) error {
	var out []byte
	// bpftool fails where an object goes away between its id and its turn.
	err := eventually(func() (err error) {
		out, err = exec.Command("bpftool", "-j", kind, "list").Output()
		return err
	})
	if err != nil {
		return fmt.Errorf("list with bpftool: %s: %w", kind, err)
	}
	var objects []struct {
		ID   int    `json:"id"`
		Type any    `json:"type"` // a number where bpftool has no name for it
		Name string `json:"name"`
	}
	if len(strings.TrimSpace(string(out))) == 0 {
		return nil
	}
	if err := json.Unmarshal(out, &objects); err != nil {
		return fmt.Errorf("list with bpftool: %s: %w", kind, err)
	}
	for _, o := range objects {
		s[fmt.Sprintf("%s %d %v %s", kind, o.ID, o.Type, o.Name)] = true
	}
	return nil
}

func (s hostState) addFiles(what, dir string) error {
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != dir {
			s[what+" "+path] = true
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("walk %s: %w", dir, err)
	}
	return nil
}

// unchanged returns what came or went since s. The kernel frees objects after
// their last user is gone, so it is given the time for it.
//
// That wait only asks for ids. bpftool opens each object to show it, and a
// PROG_ARRAY that is opened while the kernel clears it, after its last user went,
// is never freed: prog_array_map_clear takes a reference for its work each time,
// and loses it when the work is pending already.
func (s hostState) unchanged() error {
	ids := s.ids()
	settled := eventually(func() error {
		now, err := objectIDs()
		if err == nil && !maps.Equal(ids, now) {
			err = errors.New("objects came or went")
		}
		return err
	})
	return errors.Join(s.compare(), settled)
}

func (s hostState) compare() error {
	now, err := snapshot()
	if err != nil {
		return err
	}
	var diff []string
	for k := range now {
		if !s[k] {
			diff = append(diff, "left behind: "+k)
		}
	}
	for k := range s {
		if !now[k] {
			diff = append(diff, "taken away: "+k)
		}
	}
	if len(diff) == 0 {
		return nil
	}
	sort.Strings(diff)
	return errors.New(strings.Join(diff, "\n"))
}

// ids returns the kernel's objects of s, as "map 12".
func (s hostState) ids() map[string]bool {
	ids := map[string]bool{}
	for k := range s {
		if f := strings.Fields(k); f[0] == "prog" || f[0] == "map" || f[0] == "link" {
			ids[f[0]+" "+f[1]] = true
		}
	}
	return ids
}

func objectIDs() (map[string]bool, error) {
	ids := map[string]bool{}
	if shared() {
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

// shared says that others load and attach programs on this machine at the same
// time, by KMESH_E2E_SHARED=1. What is not private to the tests is not compared then.
func shared() bool { return os.Getenv("KMESH_E2E_SHARED") == "1" }
