// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/keeper"
	"github.com/kmesh-net/kmesh-node/internal/service"
	"github.com/kmesh-net/kmesh-node/loader"
)

const (
	reconcileInterval = 30 * time.Second
	// leastInterval keeps a wrong unit from making a busy loop.
	leastInterval = 100 * time.Millisecond
	// stepTime is what each step of the start may take of the service manager's patience.
	stepTime = time.Minute
)

func (c *command) run() *cli.Command {
	flags := append(upFlags(),
		&cli.StringSliceFlag{Name: "config", Usage: "file or directory whose content is in force, from then on and after each change; may be repeated"},
		&cli.DurationFlag{Name: "reconcile-interval", Value: reconcileInterval, Usage: "how often what is loaded and attached is compared and repaired"})
	flags = append(flags, xdsFlags()...)
	flags = append(flags, adminFlags()...)
	flags = append(flags, dataLogFlags()...)
	return &cli.Command{Name: "run", Usage: "up, then stay until SIGTERM; the data plane outlives it", Flags: flags,
		Action: noArgs(func(ctx *cli.Context) error {
			cfg, err := c.upConfig(ctx)
			if err != nil {
				return err
			}
			cfg.Stay = true
			interval, err := turnInterval(ctx.Duration("reconcile-interval"))
			if err != nil {
				return err
			}
			control, err := readXDS(ctx, cfg)
			if err != nil {
				return err
			}
			d := &daemon{cfg: cfg, notify: service.NewNotifier(cfg.Log), loader: loader.NewBpfLoader(cfg)}
			d.notify.Doing = cfg.Doing
			d.keeper = keeper.New(cfg, control != nil)
			cfg.Aside = d.keeper.Aside
			d.src = newSource(cfg, d.keeper, listFlag(ctx, "config"))
			if err := d.addAdmin(ctx, interval); err != nil {
				return err
			}
			if err := d.addDataLog(ctx, interval); err != nil {
				return err
			}
			if cfg.Mode == loader.Workload {
				d.parts = append(d.parts, &pods{cfg: cfg, keeper: d.keeper})
			}
			if control != nil {
				if d.live, err = newLive(d, control); err != nil {
					return err
				}
				d.parts = append(d.parts, d.live)
			}
			c.progress.start("run")
			defer c.progress.stop()
			return d.run(ctx.Context, interval, c.progress.stop)
		})}
}

// listFlag reads a flag that may be repeated. Its variable separates by commas.
func listFlag(ctx *cli.Context, name string) []string {
	l := ctx.StringSlice(name)
	if v := os.Getenv(envOf(name)); v != "" && len(l) == 1 && l[0] == v {
		l = strings.Split(v, ",")
	}
	return slices.DeleteFunc(l, func(s string) bool { return s == "" })
}

// turnInterval is the time between two turns: the service manager hears of each, and
// waits no longer than the watchdog's time.
func turnInterval(asked time.Duration) (time.Duration, error) {
	if asked < leastInterval {
		return 0, usage("--reconcile-interval %v is less than %v", asked, leastInterval)
	}
	watchdog, err := service.WatchdogInterval()
	if err != nil {
		return 0, usage("WATCHDOG_USEC: %w", err)
	}
	if watchdog > 0 {
		asked = min(asked, watchdog/2)
	}
	return asked, nil
}

// daemon is a live `run`.
type daemon struct {
	cfg     *loader.Config
	loader  *loader.BpfLoader
	src     *source
	watcher *service.Watcher // nil: none
	notify  *service.Notifier
	seen    uint64 // fingerprint of the files when they were read
	err     error  // of the last turn

	keeper  *keeper.Keeper // of the maps, for the parts
	parts   []part
	live    *live // nil: no control plane
	datalog *dataLog
	pulse   pulse
}

// part is something that runs beside the loop.
type part interface {
	// start is called in the order of the parts, once the data plane is up and its
	// configuration read; an error ends `run`. It returns before long, or asks for
	// more time with Notifier.Extend.
	start(ctx context.Context) error
	// close is called, the last part first, for each that was started.
	close() error
}

// run starts, calls started, and stays.
func (d *daemon) run(ctx context.Context, interval time.Duration, started func()) (err error) {
	loop := &service.Loop{Notify: d.notify, Interval: interval, Turn: d.turn, Reload: d.hangup, Status: d.status}
	loop.Listen()
	if d.watch(); d.watcher != nil {
		loop.Changed = d.watcher.Changed
		defer func() { err = errors.Join(err, d.watcher.Close()) }()
	}
	if d.live != nil {
		loop.News = d.live.news
	}
	defer d.loader.Stop()
	defer func() { err = errors.Join(err, d.keeper.Close()) }()
	if err = d.start(ctx); err == nil {
		// Of the verifier and what it was fed nothing is needed any more, and a first
		// sync leaves much behind.
		collectOften()
		debug.FreeOSMemory()
		var stop func() error
		stop, err = d.startParts(ctx)
		defer func() { err = errors.Join(err, stop()) }()
	}
	if ctx.Err() != nil && (err == nil || isAlone(err, loader.ErrInterrupted)) {
		d.cfg.Log.Info("run: stopped before the start was over")
		return nil
	}
	if err != nil {
		return err
	}
	started()
	if d.live == nil { // what a control plane sends makes garbage now and then, and is much
		collectAsUsual()
	}
	debug.FreeOSMemory()
	loop.Run(ctx)
	d.cfg.Log.Info("run: stopped; the data plane stays")
	return nil
}

// startParts starts each part; stop closes those that were started.
func (d *daemon) startParts(ctx context.Context) (stop func() error, err error) {
	started := 0
	stop = func() (err error) {
		for _, p := range slices.Backward(d.parts[:started]) {
			err = errors.Join(err, p.close())
		}
		return err
	}
	for _, p := range d.parts {
		if err := p.start(ctx); err != nil {
			return stop, err
		}
		started++
	}
	return stop, nil
}

// start comes up, brings the configuration into force and shows that both work. Where
// nothing of this mode is up, configuration that is wrong ends it before anything has
// changed; else what was in force before stays, and goes on working.
func (d *daemon) start(ctx context.Context) error {
	if err := d.check(); err != nil && !slices.Contains(loader.ModesUp(d.cfg), d.cfg.Mode) {
		return err
	}
	d.cfg.Configure = d.src.configure
	if d.live != nil {
		d.cfg.Configure = func(h *loader.Handles) error { return d.live.configure(ctx, h) }
	}
	d.notify.Extend(stepTime, "starting")
	if err := d.loader.Start(ctx); err != nil {
		return err
	}
	d.notify.Extend(stepTime, "reading configuration")
	d.reload()
	if ctx.Err() != nil {
		return nil
	}
	d.notify.Extend(stepTime, "testing")
	return d.test(ctx)
}

// check reads what the start needs, without any effect.
func (d *daemon) check() error {
	if d.live != nil {
		return d.live.settings.client.Endpoint.CheckFiles()
	}
	_, err := d.src.read()
	return err
}

// test shows that what is up runs. What somebody took away since it came up is put back,
// and tested once more: it is no reason to end.
func (d *daemon) test(ctx context.Context) error {
	err := loader.SelfTest(d.cfg)
	if err == nil {
		return nil
	}
	repaired, repairErr := d.loader.Reconcile(ctx)
	if len(repaired) == 0 {
		return errors.Join(err, repairErr)
	}
	d.tell(repaired)
	return loader.SelfTest(d.cfg)
}

// tell logs what was repaired.
func (d *daemon) tell(repaired []string) {
	d.pulse.repaired(len(repaired))
	for _, what := range repaired {
		d.cfg.Log.WithField("event", "repaired").Warnf("repaired: %s", what)
	}
}

// watch has changes of the files told. Where the host has no watches left, the turns
// look for changes.
func (d *daemon) watch() {
	if len(d.src.paths) == 0 {
		return
	}
	w, err := service.Watch(d.src.paths, d.cfg.Log)
	if err != nil {
		d.cfg.Log.WithError(err).Warn("changes of the configuration are seen each --reconcile-interval only")
		return
	}
	d.watcher = w
}

// hangup is what SIGHUP asks for.
func (d *daemon) hangup(context.Context) {
	if d.live != nil {
		d.live.client.Reconnect()
		return
	}
	d.reload()
}

// reload brings what the files say into force. What is wrong with them is told of, and
// kept for the status.
func (d *daemon) reload() {
	d.seen = service.Fingerprint(d.src.paths)
	if d.watcher != nil {
		if err := d.watcher.Arm(); err != nil {
			d.cfg.Log.WithError(err).Warn("some changes of the configuration are seen each --reconcile-interval only")
		}
	}
	d.src.apply()
	d.pulse.configured(d.src)
}

// turn repairs, and tells of it.
func (d *daemon) turn(ctx context.Context) {
	d.pulse.begin()
	defer func() { d.pulse.end(d.err) }()
	if !d.src.settled() || service.Fingerprint(d.src.paths) != d.seen {
		d.reload()
	}
	repaired, err := d.loader.Reconcile(ctx)
	d.tell(repaired)
	err = errors.Join(err, d.datalog.turn())
	if err == nil && d.live != nil {
		d.live.sink.Look()
	}
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && (d.err == nil || d.err.Error() != err.Error()):
		d.cfg.Log.WithError(err).Error("what is loaded or attached is not as it should be, and could not be repaired")
	case err == nil && d.err != nil:
		d.cfg.Log.Info("all is as it should be again")
	}
	d.err = err
}

// status says in a line how things are.
func (d *daemon) status() string {
	n, err := loader.Count(d.cfg)
	if err != nil {
		return fmt.Sprintf("mode %s: %v", d.cfg.Mode, err)
	}
	var from fmt.Stringer = d.src
	if d.live != nil {
		from = d.live
	}
	s := fmt.Sprintf("mode %s, generation %d: %d programs, %d links, %d maps, %d namespaces enrolled; %s",
		d.cfg.Mode, n.Generation, n.Programs, n.Links, n.Maps, n.Enrolled, from)
	if d.err != nil {
		s = fmt.Sprintf("cannot repair: %v; %s", d.err, s)
	}
	return s
}

// isAlone says whether err is target and nothing went wrong beside it.
func isAlone(err, target error) bool {
	return errors.Is(err, target) && !strings.Contains(err.Error(), "\n")
}
