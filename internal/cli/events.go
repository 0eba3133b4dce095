// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/events"
	"github.com/kmesh-net/kmesh-node/internal/ratelimit"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
)

func (c *command) events() *cli.Command {
	return &cli.Command{Name: "events", Usage: "follow connections of workload mode until SIGTERM: opened, closed, refused, denied",
		Flags: []cli.Flag{&cli.UintFlag{Name: "rate", Usage: "print so many events a second at most, and tell how many were left out (0: all)"}},
		Action: noArgs(func(ctx *cli.Context) error {
			cfg, err := c.config(ctx)
			if err != nil {
				return err
			}
			if cfg.Mode != loader.Workload {
				return usage("events are of mode %s, and this is mode %s: use --mode %s", loader.Workload, cfg.Mode, loader.Workload)
			}
			return c.withHandles(ctx, func(cfg *loader.Config, h *loader.Handles) error { return c.follow(ctx, cfg, h) })
		})}
}

func (c *command) follow(ctx *cli.Context, cfg *loader.Config, h *loader.Handles) (err error) {
	form, err := outputOf(ctx)
	if err != nil {
		return err
	}
	release, err := cfg.LockEvents()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	names := &eventNames{open: h.OpenWorkload}
	defer func() { err = errors.Join(err, names.close()) }()
	rate := ctx.Uint("rate")
	if rate > maxRate {
		return usage("--rate %d is more than %d", rate, maxRate)
	}
	out := newEventOut(ctx.Context, c.stdout)
	p := &eventPrinter{out: out, errout: newEventOut(ctx.Context, c.stderr), form: form, names: names, limit: ratelimit.Limiter{PerSecond: int(rate)}}
	collectAsUsual()
	err = events.Follow(ctx.Context, events.Maps{Event: h.FD("km_event"), Reader: h.FD("km_reader"), Stats: h.FD("km_wstats")},
		events.Handler{Event: p.event, Lost: p.lost, Tick: func() error {
			if err := errors.Join(p.dropped(), out.orphaned()); err != nil {
				return err
			}
			// Those that are read here, and by which events get their names.
			return stillInUse(h, "events", "km_event", "km_wstats", "km_res", "km_pstate")
		}})
	if err != nil {
		return err
	}
	return p.dropped()
}

// maxRate is the most that --rate takes: more events than that a second do not come.
const maxRate = 10_000_000

// eventNames turns the numbers in events into names, and keeps them for a second:
// while a writer is at work each question may read all resources anew.
type eventNames struct {
	open  func() (*workload.Store, error)
	store *workload.Store
	known map[uint32]eventName
	until time.Time
}

type eventName struct{ kind, name string }

// resource returns kind and name of a resource; what is gone has a number.
func (n *eventNames) resource(id uint32) (kind, name string, err error) {
	if now := time.Now(); now.After(n.until) {
		n.known, n.until = map[uint32]eventName{}, now.Add(time.Second)
	}
	e, ok := n.known[id]
	if ok {
		return e.kind, e.name, nil
	}
	if n.store == nil {
		if n.store, err = n.open(); err != nil {
			return "", "", err
		}
	}
	switch e.kind, e.name, ok, err = n.store.Resource(id); {
	case err != nil: // a writer has the maps for so long: the event goes on without a name
		e.name = fmt.Sprintf("(number %d)", id)
	case !ok:
		e.name = fmt.Sprintf("(number %d, gone)", id)
	}
	n.known[id] = e
	return e.kind, e.name, nil
}

func (n *eventNames) close() error {
	if n.store == nil {
		return nil
	}
	return n.store.Close()
}
