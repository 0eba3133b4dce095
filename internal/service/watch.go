// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/sirupsen/logrus"
)

// A change is told of once files have been quiet for settle, and after longest at the
// latest: an editor, or a copy of a directory, makes many changes of one.
const (
	settle  = 200 * time.Millisecond
	longest = 2 * time.Second
)

// Watcher says when files or directories change: in place, renamed over, through a
// symbolic link that leads elsewhere, gone and there again.
type Watcher struct {
	// Changed has a value in it after a change, until it is taken.
	Changed <-chan struct{}

	changed chan struct{}
	paths   []string
	log     *logrus.Logger
	w       *fsnotify.Watcher
	armed   chan interests // the newest, for the goroutine that reads events
	done    chan struct{}
	dirs    map[string]bool // that are watched
}

// Watch watches paths, which need not exist. Close ends it.
func Watch(paths []string, log *logrus.Logger) (*Watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch configuration: %w", err)
	}
	c := make(chan struct{}, 1)
	s := &Watcher{Changed: c, changed: c, paths: paths, log: log, w: w,
		armed: make(chan interests), done: make(chan struct{}), dirs: map[string]bool{}}
	go s.gather()
	if err := s.Arm(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Arm finds out anew which directories tell of a change. It is called before the files
// are read: of what changes after that, Changed tells.
func (s *Watcher) Arm() error {
	in := interests{}
	for _, p := range s.paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return fmt.Errorf("watch %s: %w", p, err)
		}
		in.follow(abs)
	}
	s.armed <- in
	var errs []error
	for dir := range s.dirs {
		// The name may be another directory's by now: each is watched anew.
		if err := s.w.Remove(dir); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
			errs = append(errs, fmt.Errorf("watch %s: %w", dir, err))
		}
	}
	clear(s.dirs)
	for dir := range in {
		if err := s.w.Add(dir); err != nil {
			errs = append(errs, fmt.Errorf("watch %s: %w", dir, err))
			continue
		}
		s.dirs[dir] = true
	}
	return errors.Join(errs...)
}

// Close ends the watch.
func (s *Watcher) Close() error {
	err := s.w.Close()
	<-s.done
	return err
}

// gather makes one change of many events.
func (s *Watcher) gather() {
	defer close(s.done)
	var in interests
	var first time.Time // of the events that were not told of yet
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	event := func() {
		now := time.Now()
		if first.IsZero() {
			first = now
		}
		quiet.Reset(min(settle, time.Until(first.Add(longest))))
	}
	for {
		select {
		case in = <-s.armed:
		case e, ok := <-s.w.Events:
			if !ok {
				return
			}
			if in.concerns(e) {
				event()
			}
		case err, ok := <-s.w.Errors:
			if !ok {
				return
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				s.log.WithError(err).Warn("watch configuration")
			}
			event() // something may have been missed
		case <-quiet.C:
			first = time.Time{}
			select {
			case s.changed <- struct{}{}:
			default: // not taken yet: whoever takes it reads the files after this
			}
		}
	}
}
