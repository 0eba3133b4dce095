// SPDX-License-Identifier: Apache-2.0

package podrecord

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is the directory of the records. It comes with the first one and goes with the
// last one.
type Dir string

const (
	suffix = ".json"
	hidden = "." // begins the name of a record half written
	// stale is the age from when on one half written is nobody's.
	stale = time.Minute
	// mostFiles is far above the namespaces that can be enrolled.
	mostFiles = 1 << 16
)

// fileName is one-to-one with the attachment: no container id has an @.
func fileName(id, ifname string) string { return id + "@" + ifname + suffix }

func (d Dir) path(file string) string { return filepath.Join(string(d), file) }

// Write puts a record in place of the one before, whole or not at all.
func (d Dir) Write(r *Record) error {
	r.Version = version
	if err := r.Check(); err != nil {
		return fmt.Errorf("write record of %s: %w", r, err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write record of %s: %w", r, err)
	}
	file := fileName(r.ContainerID, r.IfName)
	if err := d.put(file, append(data, '\n')); err != nil {
		return fmt.Errorf("write record of %s: %w", r, err)
	}
	return nil
}

// put writes beside and renames. The directory may go with the last record of others in
// between. A tmpfs has nothing to sync.
func (d Dir) put(file string, data []byte) error {
	for tries := 0; ; tries++ {
		err := d.putOnce(file, data)
		if !errors.Is(err, os.ErrNotExist) || tries == 10 {
			return err
		}
		if err := os.MkdirAll(string(d), 0o700); err != nil {
			return err
		}
	}
}

func (d Dir) putOnce(file string, data []byte) error {
	f, err := os.CreateTemp(string(d), hidden+"new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), d.path(file))
	}
	if err != nil {
		err = errors.Join(err, ignoreMissing(os.Remove(f.Name())))
	}
	return err
}

// Read returns a record; os.ErrNotExist where there is none.
func (d Dir) Read(id, ifname string) (*Record, error) {
	if err := CheckID(id, ifname); err != nil {
		return nil, err
	}
	return d.read(fileName(id, ifname))
}

func (d Dir) read(file string) (*Record, error) {
	f, err := os.OpenFile(d.path(file), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil && info.Mode().Perm()&0o022 != 0 {
		err = errors.New("others than root can write it")
	}
	if err != nil {
		return nil, bad(d.path(file), err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("more than %d bytes", maxFile)
	}
	if err != nil {
		return nil, bad(d.path(file), err)
	}
	r, err := parse(file, data)
	if err != nil {
		return nil, bad(d.path(file), err)
	}
	return r, nil
}

func bad(path string, err error) error {
	return fmt.Errorf("read record %s: %w; remove the file, and start the pod again", path, err)
}

// Remove takes a record away; one that is not there is no error.
func (d Dir) Remove(id, ifname string) error {
	if err := CheckID(id, ifname); err != nil {
		return err
	}
	if err := ignoreMissing(os.Remove(d.path(fileName(id, ifname)))); err != nil {
		return fmt.Errorf("remove record: %w", err)
	}
	return d.removeEmpty()
}

func (d Dir) removeEmpty() error {
	err := os.Remove(string(d))
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EBUSY) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// List reads all records, by file name. Those that cannot be read are errors of invalid,
// one for each, and the others are there all the same.
func (d Dir) List() (l []*Record, invalid []error, err error) {
	files, err := d.names()
	if err != nil {
		return nil, nil, err
	}
	for _, file := range files {
		if strings.HasPrefix(file, hidden) {
			continue
		}
		r, err := d.read(file)
		switch {
		case errors.Is(err, os.ErrNotExist): // it went in between
		case err != nil:
			invalid = append(invalid, err)
		default:
			l = append(l, r)
		}
	}
	return l, invalid, nil
}

// names lists the files, sorted.
func (d Dir) names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	if len(entries) > mostFiles {
		return nil, fmt.Errorf("list records: %s has %d files, at most %d", d, len(entries), mostFiles)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Sweep removes what writers left half written that were killed.
func (d Dir) Sweep() error {
	files, err := d.names()
	if err != nil || len(files) == 0 {
		return err
	}
	for _, file := range files {
		if !strings.HasPrefix(file, hidden) {
			continue
		}
		info, err := os.Lstat(d.path(file))
		if err == nil && time.Since(info.ModTime()) > stale {
			err = os.Remove(d.path(file))
		}
		if err := ignoreMissing(err); err != nil {
			return fmt.Errorf("remove record half written: %w", err)
		}
	}
	return d.removeEmpty()
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
