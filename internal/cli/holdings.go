// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// holdings are what each path of --config holds.
type holdings map[string][]xds.Name

// set is the names of all paths.
func (h holdings) set() map[xds.Name]bool {
	names := map[xds.Name]bool{}
	for _, l := range h {
		for _, n := range l {
			names[n] = true
		}
	}
	return names
}

func (h holdings) count() int { return len(h.set()) }

// without lists what is in h and not in other.
func (h holdings) without(other holdings) []xds.Name {
	var l []xds.Name
	stay := other.set()
	for n := range h.set() {
		if !stay[n] {
			l = append(l, n)
		}
	}
	return l
}

// with is what is in either: what h alone has, under the paths of h.
func (h holdings) with(other holdings) holdings {
	sum := holdings{}
	for p, l := range other {
		sum[p] = slices.Clone(l)
	}
	have := other.set()
	for p, l := range h {
		for _, n := range l {
			if !have[n] {
				sum[p] = append(sum[p], n)
			}
		}
	}
	return sum
}

// recall reads once what a `run` before this one wrote down.
func (s *source) recall() error {
	if len(s.held) > 0 {
		return nil
	}
	path := s.cfg.SourceFiles()[0]
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &exit.Error{Code: exit.NotReady, Step: "read what --config held", Err: err, Remedy: "run as root, and let it be a file"}
	}
	if err := json.Unmarshal(b, &s.held); err != nil {
		// What it named cannot be told from what came by other ways: it stays.
		s.cfg.Log.Warnf("%s cannot be read, what the files held before stays: %v", path, err)
		s.held = holdings{}
	}
	return nil
}

// remember writes down what the paths hold, in place of what stood there.
func (s *source) remember(h holdings) error {
	if err := writeDown(s.cfg.SourceFiles(), h); err != nil {
		return fmt.Errorf("write down what --config holds: %w", err)
	}
	return nil
}

// writeDown writes v to the first file, whole: by way of the second one.
func writeDown(files [2]string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	path, tmp := files[0], files[1]
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return errors.Join(err, removeIfThere(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, removeIfThere(tmp))
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
