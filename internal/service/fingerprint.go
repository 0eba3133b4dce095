// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
)

// Fingerprint is other when files of paths are, by their names, sizes and times: for
// what no watch tells of, such as a mount over a directory.
func Fingerprint(paths []string) uint64 {
	h := fnv.New64a()
	add := func(path string) bool {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintf(h, "%q gone\n", path)
			return false
		}
		fmt.Fprintf(h, "%q %v %d %d\n", path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		return info.IsDir()
	}
	for _, p := range paths {
		if !add(p) {
			continue
		}
		entries, err := os.ReadDir(p)
		if err != nil {
			continue // it went by now
		}
		for _, e := range entries {
			add(filepath.Join(p, e.Name()))
		}
	}
	return h.Sum64()
}
