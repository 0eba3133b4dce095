// SPDX-License-Identifier: Apache-2.0

package service

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// interests are the directories that tell of changes, each with the names in it that
// matter; nil: all do. Directories are watched, never files: a file that is renamed
// over takes its watch with it.
type interests map[string]map[string]bool

// maxLinks bounds the symbolic links on one way, as the kernel does.
const maxLinks = 40

func (in interests) name(dir, name string) {
	if names, ok := in[dir]; ok && names == nil {
		return
	}
	if in[dir] == nil {
		in[dir] = map[string]bool{}
	}
	in[dir][name] = true
}

// follow adds what the file or directory at path, which is absolute, depends on: each
// symbolic link on the way, the last element, and what is in a directory.
func (in interests) follow(path string) {
	end := in.walk(path)
	if end == "" {
		return
	}
	entries, err := os.ReadDir(end)
	if err != nil {
		return // a file
	}
	in[end] = nil
	for _, e := range entries {
		if e.Type()&os.ModeSymlink != 0 {
			in.walk(filepath.Join(end, e.Name()))
		}
	}
}

// walk returns where path leads to, "" where that does not exist: then the nearest
// directory that does tells when it comes.
func (in interests) walk(path string) string {
	at := "/"
	rest := split(path)
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		info, err := os.Lstat(next)
		if err != nil || len(rest) == 1 {
			in.name(at, filepath.Base(next))
		}
		if err != nil {
			return ""
		}
		if info.Mode()&os.ModeSymlink == 0 {
			at, rest = next, rest[1:]
			continue
		}
		in.name(at, filepath.Base(next))
		target, err := os.Readlink(next)
		if links++; err != nil || links > maxLinks {
			return ""
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(split(target), rest[1:]...)
	}
	return at
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator })
}

// concerns says whether an event may mean other content.
func (in interests) concerns(e fsnotify.Event) bool {
	if e.Op == fsnotify.Chmod {
		return false
	}
	if _, ok := in[e.Name]; ok && !e.Has(fsnotify.Create) {
		return true // the directory itself went
	}
	names, ok := in[filepath.Dir(e.Name)]
	return ok && (names == nil || names[filepath.Base(e.Name)])
}
