// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/datalog"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/ratelimit"
	"github.com/kmesh-net/kmesh-node/loader"
)

const (
	dataLogLevel    = "data-log-level"
	serviceCounters = "service-counters"
	countAuto       = "auto"
	countOn         = "on"
	countOff        = "off"
	// countedFor is how long one who scraped is taken to come again, and a run that was
	// killed has connects counted at most, unless its turns are rarer.
	countedFor = 5 * time.Minute
)

func dataLogFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: dataLogLevel, Value: datalog.Off.String(), Usage: "what the data plane tells of single connections: off, error, info (each one that is led elsewhere or denied) or debug (why one was left alone)"},
		&cli.StringFlag{Name: serviceCounters, Value: countAuto, Usage: "count what connects came to by service: auto (from the first scrape of metrics on, until none came for 5 minutes), on (as long as this runs) or off; while it is counted each connect takes a quarter of a microsecond more (workload mode; ads mode always counts)"},
	}
}

// dataLog is what a `run` asks the data plane to tell: its log, at a level that changes
// live, and counters by service.
type dataLog struct {
	d     *daemon
	first datalog.Level
	count string // of --service-counters
	// countFor is what countOn asks for at each turn.
	countFor time.Duration

	mu     sync.Mutex
	watch  *datalog.Watch // nil: not started
	stop   context.CancelFunc
	ended  chan error
	reader *datalog.Reader

	// What tell knows.
	names map[uint32]string
	until time.Time
	limit ratelimit.Limiter
	told  time.Time // when what was left out was last told of
	lost  uint64
}

func readDataLog(ctx *cli.Context) (level datalog.Level, count string, err error) {
	if level, err = datalog.ParseLevel(ctx.String(dataLogLevel)); err != nil {
		return level, count, usage("--%s: %w", dataLogLevel, err)
	}
	count, err = enumOf(ctx, serviceCounters)
	return level, count, err
}

func (d *daemon) addDataLog(ctx *cli.Context, interval time.Duration) error {
	level, count, err := readDataLog(ctx)
	if err != nil {
		return err
	}
	d.datalog = &dataLog{d: d, first: level, count: count, countFor: max(countedFor, 2*interval),
		limit: ratelimit.Limiter{PerSecond: linesPerSecond}}
	d.parts = append(d.parts, d.datalog)
	return nil
}

// start sets what was asked for, whatever level a `run` before this one left behind; what it
// had counted goes on for its time.
func (l *dataLog) start(context.Context) error {
	l.mu.Lock()
	err := l.d.keeper.Handles(func(h *loader.Handles) (err error) {
		l.watch, err = datalog.OpenWatch(h.FD("km_watch"))
		return err
	})
	if err == nil {
		l.watch.SetLevel(datalog.Off)
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if err := l.turn(); err != nil {
		return err
	}
	return l.SetLevel(l.first.String())
}

// close has the data plane tell nothing any more: nobody would read it.
func (l *dataLog) close() error {
	err := l.SetLevel(datalog.Off.String())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == countOn {
		l.watch.CountNoMore()
	}
	err = errors.Join(err, l.watch.Close())
	l.watch = nil
	return err
}

var errNotYet = errors.New("the data plane is not up yet, or not any more")

// Level is the level that is set.
func (l *dataLog) Level() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watch == nil {
		return "", &exit.Error{Code: exit.NotUp, Step: "get log level", Object: "data plane", Err: errNotYet, Remedy: "ask again"}
	}
	return l.watch.Level().String(), nil
}

// turn has connects counted until some time after the next turn, where they always are.
func (l *dataLog) turn() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count != countOn {
		return nil
	}
	return l.watch.CountFor(l.countFor)
}

// scraped has connects counted for one who comes again.
func (l *dataLog) scraped() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watch == nil || l.count != countAuto {
		return nil
	}
	return l.watch.CountFor(countedFor)
}

// SetLevel is in force for the next connect.
func (l *dataLog) SetLevel(name string) error {
	const step = "set log level of the data plane"
	level, err := datalog.ParseLevel(name)
	if err != nil {
		return &exit.Error{Code: exit.Usage, Step: step, Object: name, Err: err}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watch == nil {
		return &exit.Error{Code: exit.NotUp, Step: step, Object: name, Err: errNotYet, Remedy: "ask again"}
	}
	before := l.watch.Level()
	if level != datalog.Off {
		if err := l.follow(); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	l.watch.SetLevel(level)
	if level == datalog.Off {
		err = l.unfollow()
	}
	if level != before {
		l.d.cfg.Log.Infof("log level of the data plane: %s", level)
	}
	return err
}

// follow begins to read, unless it is read already.
func (l *dataLog) follow() error {
	if l.stop != nil {
		return nil
	}
	err := l.d.keeper.Handles(func(h *loader.Handles) (err error) {
		l.reader, err = datalog.NewReader(h.FD("km_log"), l.watch)
		return err
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	r, ended := l.reader, make(chan error, 1)
	l.stop, l.ended = stop, ended
	go func() {
		err := r.Follow(ctx, l.tell)
		if err != nil {
			l.d.cfg.Log.WithError(err).Error("the data plane's log is not read any more, until its level is set to off and on again")
		}
		ended <- err
	}()
	return nil
}

// unfollow reads what is there, and ends reading.
func (l *dataLog) unfollow() error {
	if l.stop == nil {
		return nil
	}
	l.stop()
	err := <-l.ended
	l.account()
	err = errors.Join(err, l.reader.Close())
	l.stop, l.reader = nil, nil
	return err
}
