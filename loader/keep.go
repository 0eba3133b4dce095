// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// A live `run` keeps a descriptor of all that is pinned: what loses its pin then goes
// on working until it is pinned again.

// kept is what a live `run` holds on to, but for what it does at the moment.
type kept struct {
	run     *lock
	objects []keptObject
}

// keptObject is one pin of the tree; the record's is in no folder.
type keptObject struct {
	dir  dir
	name string
	fd   int
}

// settle lets go of all that Start needed, and keeps what a live `run` has to.
func (l *BpfLoader) settle() error {
	k := l.up
	next, err := keepPinned(k.t)
	if err != nil {
		return err
	}
	next.run, k.run = k.run, nil
	k.Close()
	l.up, l.kept = nil, next
	return nil
}

// keepPinned opens what of kmesh-node is pinned in the tree.
func keepPinned(t tree) (_ *kept, err error) {
	k := &kept{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("keep what is pinned: %w", err), k.close())
		}
	}()
	rec, err := t.load()
	if err != nil {
		return nil, err
	}
	if err := k.open(t, "", "meta"); err != nil {
		return nil, err
	}
	for _, d := range pinDirs {
		entries, err := os.ReadDir(t.dir(d))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !ours(Mode(t.mode), d, e.Name(), rec) {
				continue // a stranger's must go when the stranger wants it to
			}
			if err := k.open(t, d, e.Name()); err != nil {
				return nil, err
			}
		}
	}
	return k, nil
}

func (k *kept) open(t tree, d dir, name string) error {
	fd, err := pinGet(t.pin(d, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil // unenrolled in between
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", t.pin(d, name), err)
	}
	k.objects = append(k.objects, keptObject{d, name, fd})
	return nil
}

// close gives the descriptors up; the lock stays taken.
func (k *kept) close() error {
	var errs []error
	for _, o := range k.objects {
		if err := unix.Close(o.fd); err != nil {
			errs = append(errs, fmt.Errorf("close %s %s: %w", o.dir, o.name, err))
		}
	}
	k.objects = nil
	return errors.Join(errs...)
}

// release gives everything up; nil has nothing.
func (k *kept) release(log *logrus.Logger) {
	if k == nil {
		return
	}
	if err := errors.Join(k.close(), k.run.release()); err != nil {
		log.Warnf("release what run held: %v", err)
	}
}

// repin pins again what a live `run` kept and others unpinned.
func (k *node) repin() error {
	if k.cfg.kept == nil {
		return nil
	}
	for _, o := range k.cfg.kept.objects {
		path := k.t.pin(o.dir, o.name)
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			continue // what stands there is looked at by whoever opens it
		}
		if o.dir == linkDir && isNICLink(o.name) {
			// An unenrolment takes a link off its device, then its pin.
			if info, err := linkInfoOf(o.fd); err != nil || info.Ifindex == 0 {
				continue
			}
		}
		if err := k.pin(o.fd, o.dir, o.name); err != nil {
			return err
		}
		k.change(fmt.Sprintf("pinned again: %s", path))
	}
	return nil
}
