// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// BpfLoader brings one mode's data plane up.
type BpfLoader struct {
	cfg     *Config
	up      *node
	kept    *kept        // of a live `run`
	changed []string     // by Start
	refused []string     // recorded pods that could not be enrolled, and were told of
	hosts   []netip.Addr // the node's own addresses at the last Reconcile; nil: none yet
}

// NewBpfLoader returns a loader for cfg; it does nothing yet.
func NewBpfLoader(cfg *Config) *BpfLoader { return &BpfLoader{cfg: cfg} }

// Start does what `up` does. When it returns nil the data plane is attached and
// pinned and works on without this process, and that of the other mode is gone; else
// everything is as it was before. It takes and gives back the lock: held by another,
// the error has exit.Locked. Once it has returned nil, Stop frees what the loader holds.
func (l *BpfLoader) Start(ctx context.Context) error {
	start := l.StartAdsMode
	if l.cfg.Mode == Workload {
		start = l.StartWorkloadMode
	}
	if err := start(ctx); err != nil || !l.cfg.Stay {
		return err
	}
	err := l.settle()
	if err != nil {
		l.Stop()
	}
	return err
}

// step is one of the sequence.
type step struct {
	name string
	do   func() error
}

// StartAdsMode is Start for the ads mode.
func (l *BpfLoader) StartAdsMode(ctx context.Context) error {
	begin := time.Now()
	k, err := NewBpfKmesh(l.cfg)
	if err != nil {
		return err
	}
	return l.start(ctx, begin, k.node, []step{
		{"Load", k.Load},
		{"Rehearse", k.Rehearse},
		{"Attach", k.Attach},
		{"ApiEnvCfg", k.ApiEnvCfg},
		{"deserial_init", k.openStore},
		{"Configure", k.Configure},
		{"SelfTest", k.SelfTest},
		{"Commit", k.commit},
	})
}

// StartWorkloadMode is Start for the workload mode.
func (l *BpfLoader) StartWorkloadMode(ctx context.Context) error {
	begin := time.Now()
	w, err := NewWorkloadBpf(l.cfg)
	if err != nil {
		return err
	}
	return l.start(ctx, begin, w.node, []step{
		{"Load", w.Load},
		{"Refresh", w.Refresh},
		{"Rehearse", w.Rehearse},
		{"Attach", w.Attach},
		{"Configure", w.Configure},
		{"SelfTest", w.SelfTest},
		{"Commit", w.Commit},
	})
}

// start goes through the steps of one mode; a failure takes back all of them.
func (l *BpfLoader) start(ctx context.Context, begin time.Time, k *node, steps []step) (err error) {
	committed := false
	defer func() {
		if err != nil && !committed {
			err = errors.Join(err, k.undo.unwind())
			k.drop = k.loaded
		}
		err = errors.Join(err, k.unlock())
		if err != nil {
			k.Close()
		}
	}()
	if k.idle {
		steps = nil
		if err := k.undo.unwind(); err != nil {
			return err
		}
	}
	for _, p := range steps {
		if err := ctx.Err(); err != nil {
			return interrupted("up", p.name)
		}
		if err := k.phase(p.name, p.do); err != nil {
			return k.coded(p.name, err)
		}
	}
	committed = true
	if !k.idle {
		k.settleRecords()
		if err := k.dropOther(); err != nil {
			return err
		}
		dropStaleLocks(k.log)
	}
	k.timed(begin).Logf(k.level(), "up: %s", k.outcome())
	l.up, l.changed, l.refused = k, k.changed, k.refused
	return nil
}

// coded gives an error that has no exit code yet that of its step.
func (k *node) coded(step string, err error) error {
	var coded *exit.Error
	if !errors.As(err, &coded) && (step == "Attach" || step == "Commit") {
		return attachError(step, k.t.root(), err, "run it again")
	}
	return codedLoad(step, k.t.root(), err)
}

// Stop closes what Start left open; the data plane stays.
func (l *BpfLoader) Stop() {
	if l.up != nil {
		l.up.Close()
		l.up = nil
	}
	l.kept.release(l.cfg.Log)
	l.kept = nil
}

// phase runs one step of the sequence and logs its time.
func (k *node) phase(name string, do func() error) error {
	k.cfg.Doing(name)
	begin := time.Now()
	err := do()
	k.timed(begin).Logf(k.level(), "phase %s", name)
	return err
}

// level is that of what an `up` tells of itself. A repair is told of by its caller.
func (k *node) level() logrus.Level {
	if k.cfg.kept != nil {
		return logrus.DebugLevel
	}
	return logrus.InfoLevel
}

// timed is a log entry with the time since begin, in ms as a number.
func (k *node) timed(begin time.Time) *logrus.Entry {
	return k.log.WithField("ms", float64(time.Since(begin).Microseconds())/1000)
}
