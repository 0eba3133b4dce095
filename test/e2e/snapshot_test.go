// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/kmesh-net/kmesh-node/test/machine"
)

// hostState is what kmesh-node could leave behind, each thing by kind and name.
type hostState map[string]bool

// snapshot asks for the ids of programs, maps and links of the whole kernel, and looks at
// this process's mounts, bpffs pins and named namespaces.
func snapshot() (hostState, error) {
	objects, err := machine.Objects()
	s := hostState(objects)
	if err != nil || machine.Shared() && os.Getpid() != 1 {
		return s, err
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
	ids := s.objects()
	settled := eventually(func() error {
		now, err := machine.Objects()
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
		if s[k] {
			continue
		}
		if isObject(k) {
			k = machine.Describe(k)
		}
		diff = append(diff, "left behind: "+k)
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

// objects are those of s that machine.Objects has.
func (s hostState) objects() map[string]bool {
	o := maps.Clone(s)
	maps.DeleteFunc(o, func(k string, _ bool) bool { return !isObject(k) })
	return o
}

func isObject(k string) bool {
	kind, _, _ := strings.Cut(k, " ")
	return kind == "prog" || kind == "map" || kind == "link"
}
