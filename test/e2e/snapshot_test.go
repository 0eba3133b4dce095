// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// hostState is what kmesh-node could leave behind, each thing by kind and name.
type hostState map[string]bool

// snapshot asks bpftool for the programs, maps and links of the whole kernel,
// and looks at this process's mounts, bpffs pins and named namespaces.
//
// With KMESH_E2E_SHARED=1 the kernel's objects and mounts are not looked at: for a
// machine on which others load and attach programs at the same time.
func snapshot() (hostState, error) {
	s := hostState{}
	if os.Getenv("KMESH_E2E_SHARED") == "1" {
		return s, nil
	}
	for _, kind := range []string{"prog", "map", "link"} {
		if err := s.addObjects(kind); err != nil {
			return nil, err
		}
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
	out, err := exec.Command("bpftool", "-j", kind, "list").Output()
	if err != nil {
		return fmt.Errorf("list with bpftool: %s: %w", kind, err)
	}
	var objects []struct {
		ID   int    `json:"id"`
		Type string `json:"type"`
		Name string `json:"name"`
	}
	if len(strings.TrimSpace(string(out))) == 0 {
		return nil
	}
	if err := json.Unmarshal(out, &objects); err != nil {
		return fmt.Errorf("list with bpftool: %s: %w", kind, err)
	}
	for _, o := range objects {
		s[fmt.Sprintf("%s %d %s %s", kind, o.ID, o.Type, o.Name)] = true
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
func (s hostState) unchanged() error {
	return eventually(func() error {
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
	})
}
