// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// confFile is a file of a network as it was read.
type confFile struct {
	path string // of the file itself, behind symbolic links
	data []byte
	info fs.FileInfo
}

// errNoFile says that there is nothing to read, for runtimes neither.
var errNoFile = errors.New("not a regular file")

// read reads a file of a network.
func read(path string) (*confFile, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := &confFile{path: path}
	if c.info, err = f.Stat(); err == nil && !c.info.Mode().IsRegular() {
		err = errNoFile
	}
	if err == nil {
		c.data, err = readLimited(f, maxList)
	}
	return c, err
}

// errEdited says that somebody else wrote the file meanwhile.
var errEdited = errors.New("somebody else wrote it at the same time")

// replace puts another text in the file's place at once, with its owner and mode, where it
// is the same file still. A crash leaves either.
func (c *confFile) replace(text []byte) error {
	st, ok := c.info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner is not known")
	}
	return writeBeside(c.path, c.info.Mode().Perm(), bytes.NewReader(text), func(f *os.File) error {
		if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
		now, err := os.Stat(c.path)
		if err == nil && (!os.SameFile(now, c.info) || !now.ModTime().Equal(c.info.ModTime()) || now.Size() != c.info.Size()) {
			err = errEdited
		}
		return err
	})
}

// writeBeside writes a new file and renames it to path, once ready agrees. It is closed by
// then: a program that is open for writing cannot be run.
func writeBeside(path string, mode fs.FileMode, from io.Reader, ready func(*os.File) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".kmesh-node-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	for _, step := range []func() error{
		func() error { return f.Chmod(mode) },
		f.Sync, // it takes long, and ready is to be true of the moment of the rename
		func() error { return ready(f) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(f.Name())))
	}
	return syncDir(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// syncDir makes a rename last.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// copyProgram puts the program at from in place of the one at to, where it is another.
func copyProgram(from, to string) (changed bool, err error) {
	src, err := os.Open(from)
	if err != nil {
		return false, fmt.Errorf("open the program: %w", err)
	}
	defer src.Close()
	same, err := sameContent(src, to)
	if err != nil || same {
		return false, err
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	return true, writeBeside(to, 0o755, src, func(*os.File) error { return nil })
}

// sameContent says whether there is a program at path with the same content.
func sameContent(src *os.File, path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ELOOP) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	a, err := src.Stat()
	if err != nil {
		return false, err
	}
	b, err := f.Stat()
	if err != nil || a.Size() != b.Size() || b.Mode().Perm() != 0o755 || !b.Mode().IsRegular() {
		return false, err
	}
	const chunk = 1 << 20
	x, y := make([]byte, chunk), make([]byte, chunk)
	for {
		n, err := io.ReadFull(src, x)
		m, other := io.ReadFull(f, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return true, nil
		}
		if err := errors.Join(err, other); err != nil {
			return false, err
		}
	}
}
