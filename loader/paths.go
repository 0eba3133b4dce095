// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is the part of a bpffs that kmesh-node creates, adopts and removes; it
// touches nothing outside of it.
//
//	<bpf-fs-path>/
//	`-- kmesh_node/
//	    `-- <mode>/
//	        |-- meta          record: what this tree holds, and which build made it
//	        |-- map/NAME      maps; those of one load of the programs beside them
//	        |-- prog/NAME     programs
//	        `-- link/NAME     attachments, each under its program's name
//
// NAME_<n> is a pin that an `up` has prepared and not yet put in NAME's place.
// bpffs refuses dots in names.
type tree struct{ fs, mode string }

// dir is one of the three folders of pins.
type dir string

const (
	mapDir  dir = "map"
	progDir dir = "prog"
	linkDir dir = "link"
)

var pinDirs = []dir{mapDir, progDir, linkDir}

func (t tree) top() string                   { return filepath.Join(t.fs, "kmesh_node") }
func (t tree) root() string                  { return filepath.Join(t.top(), t.mode) }
func (t tree) meta() string                  { return filepath.Join(t.root(), "meta") }
func (t tree) dir(d dir) string              { return filepath.Join(t.root(), string(d)) }
func (t tree) pin(d dir, name string) string { return filepath.Join(t.dir(d), name) }

// pinName names a pin in the tree.
type pinName struct {
	dir  dir
	name string
}

// directories lists the tree's directories, parents first.
func (t tree) directories() []string {
	l := []string{t.top(), t.root()}
	for _, d := range pinDirs {
		l = append(l, t.dir(d))
	}
	return l
}

var stagedName = regexp.MustCompile(`^(.+)_([1-9][0-9]*)$`)

// staged is the name of the n-th prepared pin for name.
func staged(name string, n int) string { return name + "_" + strconv.Itoa(n) }

// baseName returns the name that a pin called name is for, and whether it is a
// prepared one. No program or map of ours ends in an underscore and a number.
func baseName(name string) (string, bool) {
	if m := stagedName.FindStringSubmatch(name); m != nil {
		return m[1], true
	}
	return name, false
}

// storeRunDir is where the C store has its locks, whatever Config.RunDir.
const storeRunDir = "/run/kmesh-node"

// storeLock is the C store's lock file for the km_meta map with that id.
func storeLock(id uint32) string {
	return filepath.Join(storeRunDir, "store-"+strconv.FormatUint(uint64(id), 10)+".lock")
}

// removeStoreLock removes that file, and the directory when it was the last in it.
func removeStoreLock(id uint32) error {
	return errors.Join(removeFile(storeLock(id)), removeEmptyDir(storeRunDir))
}

// removeFile removes a file that need not be there.
func removeFile(path string) error { return ignoreMissing(os.Remove(path)) }

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// removeEmptyDir leaves a directory that others still use.
func removeEmptyDir(path string) error {
	err := os.Remove(path)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EBUSY) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// removeEmptyDirs is removeEmptyDir for paths of which later ones may be in earlier ones.
func removeEmptyDirs(paths []string) error {
	var errs []error
	for _, p := range slices.Backward(paths) {
		errs = append(errs, removeEmptyDir(p))
	}
	return errors.Join(errs...)
}

// lockName turns a bpffs path into a file name that is one-to-one with it.
func lockName(bpffs, what string) string {
	r := strings.NewReplacer("%", "%25", "/", "%2F")
	return strings.TrimPrefix(r.Replace(filepath.Clean(bpffs)), "%2F") + what
}
