// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/datalog"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
)

const (
	// linesPerSecond is how much of the data plane's log goes into that of the process.
	linesPerSecond = 200
	// namesFor is how long names of services are kept.
	namesFor = 10 * time.Second
)

// tell logs entries, and once a second what was left out. It is called by the reader's
// goroutine alone.
func (l *dataLog) tell(entries []datalog.Entry, lost uint64) {
	now := time.Now()
	log := l.d.cfg.Log.WithField("event", "data-plane")
	var shown []datalog.Entry
	for i := range entries {
		if l.limit.Allow(now) {
			shown = append(shown, entries[i])
		}
	}
	l.name(shown, now)
	for i := range shown {
		e := &shown[i]
		line := log
		if when, err := wallClock(e.Time); err == nil {
			line = line.WithTime(when)
		}
		if e.Netns != 0 {
			line = line.WithFields(logrus.Fields{"netns": e.Netns, "pid": e.PID})
		}
		level := logrus.InfoLevel
		if e.Level == datalog.Error {
			level = logrus.ErrorLevel
		}
		line.Log(level, e.Text(l.names[e.Number()]))
	}
	l.lost += lost
	if now.Sub(l.told) < time.Second {
		return
	}
	l.told = now
	l.account()
}

// account tells what was left out since it last did.
func (l *dataLog) account() {
	log := l.d.cfg.Log.WithField("event", "data-plane")
	if n := l.limit.Dropped(); n > 0 {
		log.Warnf("%d lines of the data plane's log left out: more than %d a second", n, linesPerSecond)
	}
	if l.lost > 0 {
		log.Warnf("%d lines of the data plane's log lost: more came than could be read", l.lost)
		l.lost = 0
	}
}

// name finds the names of what entries are about, all in one look at the maps.
func (l *dataLog) name(entries []datalog.Entry, now time.Time) {
	if now.After(l.until) {
		l.names, l.until = map[uint32]string{}, now.Add(namesFor)
	}
	var unknown []uint32
	for i := range entries {
		n := entries[i].Number()
		if _, known := l.names[n]; n != 0 && !known {
			l.names[n] = fmt.Sprintf("(number %d)", n)
			unknown = append(unknown, n)
		}
	}
	if len(unknown) == 0 {
		return
	}
	var err error
	if l.d.cfg.Mode == loader.Ads {
		err = l.d.keeper.Ads(func(s *store.Store, _ *loader.Handles) error {
			for _, n := range unknown {
				name, err := s.ClusterName(n)
				if errors.Is(err, store.ErrNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				l.names[n] = "cluster " + name
			}
			return nil
		})
	} else {
		err = l.d.keeper.Workload(func(s *workload.Store, _ *loader.Handles) error {
			for _, n := range unknown {
				kind, name, ok, err := s.Resource(n)
				if err != nil {
					return err // a lock that is held: not waited for once more
				}
				if ok {
					l.names[n] = kind + " " + name
				}
			}
			return nil
		})
	}
	if err != nil {
		l.d.cfg.Log.WithError(err).Warn("names for the data plane's log could not be read: numbers stand for them")
	}
}
