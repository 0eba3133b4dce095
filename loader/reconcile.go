// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Reconcile compares what is in the kernel with what Start left, and repairs it by
// the same steps as Start; a failure of one takes back what the others did. It
// returns what it did, for people. It is for a live `run`: after Start with
// Config.Stay, before Stop. While another kmesh-node works on the data plane it
// leaves everything as it is, and says nothing.
func (l *BpfLoader) Reconcile(ctx context.Context) (repaired []string, err error) {
	if l.kept == nil {
		return nil, errors.New("reconcile: Start has not been called, or not with Stay")
	}
	p, err := MakePlan(l.cfg)
	if err != nil {
		return nil, err
	}
	l.tellRefused(p)
	if len(p.Pending()) > 0 {
		if repaired, err = l.repair(ctx); err != nil {
			return nil, err
		}
	}
	moved, err := l.followHost()
	if moved {
		repaired = append(repaired, "addresses of the node are others: they are known now")
	}
	return repaired, err
}

// repair goes the way of Start beside what l keeps.
func (l *BpfLoader) repair(ctx context.Context) ([]string, error) {
	cfg := *l.cfg
	cfg.kept = l.kept
	next := NewBpfLoader(&cfg)
	err := next.Start(ctx)
	if isBusy(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	next.kept.run = l.kept.run
	l.kept.run = nil
	l.kept.release(l.cfg.Log)
	l.kept = next.kept
	l.refused = next.refused
	return next.changed, nil
}

// isBusy says whether another kmesh-node held the lock of those that change what is
// loaded. The one of a `run` is not asked for here.
func isBusy(err error) bool {
	var e *exit.Error
	return errors.As(err, &e) && e.Code == exit.Locked && e.Step == stepLock
}

// followHost has the writer know the node's own addresses, when they are others than
// the turn before.
func (l *BpfLoader) followHost() (moved bool, err error) {
	if l.cfg.Mode != Workload {
		return false, nil
	}
	now, err := HostAddresses()
	if err != nil {
		return false, err
	}
	known := l.hosts != nil
	if known && slices.Equal(l.hosts, now) {
		return false, nil
	}
	if known {
		h, err := OpenPinned(l.cfg)
		if err != nil {
			return false, err
		}
		defer h.Close()
		if err := h.refresh(); err != nil {
			return false, err
		}
	}
	l.hosts = now
	return known, nil
}

// Counts are how much of each is there.
type Counts struct {
	Generation                      uint64
	Programs, Links, Maps, Enrolled int
}

// Count counts what is pinned where cfg says.
func Count(cfg *Config) (Counts, error) {
	t := cfg.tree()
	rec, err := t.load()
	if err != nil {
		return Counts{}, notUp("count", t)
	}
	c := Counts{Generation: rec.Generation}
	for d, n := range map[dir]*int{progDir: &c.Programs, linkDir: &c.Links, mapDir: &c.Maps} {
		entries, err := os.ReadDir(t.dir(d))
		if err != nil {
			return Counts{}, fmt.Errorf("count: %w", err)
		}
		*n = len(entries)
	}
	fd, err := pinGet(t.pin(mapDir, "km_netns"))
	if err != nil {
		return Counts{}, fmt.Errorf("count: open km_netns: %w", err)
	}
	keys, err := netnsKeys(fd)
	c.Enrolled = len(keys)
	return c, errors.Join(err, unix.Close(fd))
}
