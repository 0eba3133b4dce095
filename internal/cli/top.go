// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/datalog"
	"github.com/kmesh-net/kmesh-node/internal/keeper"
	"github.com/kmesh-net/kmesh-node/internal/top"
	"github.com/kmesh-net/kmesh-node/loader"
)

const (
	topInterval = 2 * time.Second
	// spare is how much longer than to the next sample counting is asked for.
	spare = 2 * time.Second
)

func (c *command) top() *cli.Command {
	return &cli.Command{Name: "top", Usage: "show what services get, live: connections, latency, failures, ejected endpoints",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "once", Usage: "print one table, of what happened within --interval, and end; the same where the output is no terminal"},
			&cli.DurationFlag{Name: "interval", Value: topInterval, Usage: "time between two samples"},
			&cli.StringFlag{Name: "sort", Value: string(top.ByConnects), Usage: "what comes first: most connects, latency, failures, ejected endpoints, or the name"},
			&cli.UintFlag{Name: "limit", Usage: "show so many services at most (0: all, or what the terminal has room for)"},
		},
		Action: noArgs(c.showTop)}
}

// topAsked is what the flags of top say.
type topAsked struct {
	order    top.Order
	interval time.Duration
	limit    int
}

func readTop(ctx *cli.Context) (a topAsked, err error) {
	order, err := enumOf(ctx, "sort")
	if err != nil {
		return a, err
	}
	a.order = top.Order(order)
	if a.interval = ctx.Duration("interval"); a.interval < leastInterval || a.interval > time.Hour {
		return a, usage("--interval %v is not between %v and %v", a.interval, leastInterval, time.Hour)
	}
	limit := ctx.Uint("limit")
	if limit > maxNamed {
		return a, usage("--limit %d is more than %d", limit, maxNamed)
	}
	a.limit = int(limit)
	return a, nil
}

func (c *command) showTop(ctx *cli.Context) (err error) {
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	form, err := outputOf(ctx)
	if err != nil {
		return err
	}
	asked, err := readTop(ctx)
	if err != nil {
		return err
	}
	k := keeper.New(cfg, true)
	defer func() { err = errors.Join(err, k.Close()) }()
	s, err := newSampler(cfg, k, asked.interval)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	out, ok := c.stdout.(*os.File)
	if ctx.Bool("once") || form != "table" || !ok || !top.IsTerminal(out) {
		return c.topOnce(ctx, s, asked)
	}
	collectAsUsual()
	in, ok := c.stdin.(*os.File)
	if !ok {
		in = os.Stdin
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this node"
	}
	live := top.Live{In: in, Out: out, Interval: asked.interval, Limit: asked.limit, Read: s.read, View: top.View{
		Title: fmt.Sprintf("kmesh-node top: mode %s on %s, each %v", cfg.Mode, host, asked.interval),
		Order: asked.order, Ejects: cfg.Mode == loader.Ads, Denies: cfg.Mode == loader.Workload}}
	return live.Run(ctx.Context)
}

// topOnce prints what happens within one interval, or until it is to end.
func (c *command) topOnce(ctx *cli.Context, s *sampler, asked topAsked) error {
	before, err := s.read()
	if err != nil {
		return err
	}
	wait, stop := context.WithTimeout(ctx.Context, asked.interval)
	defer stop()
	<-wait.Done()
	now, err := s.read()
	if err != nil {
		return err
	}
	if now.Anew {
		return madeAnew("top", "km_watch")
	}
	r := top.Compare(before, now)
	r.Sort(asked.order)
	if asked.limit > 0 && len(r.Services) > asked.limit {
		r.Services = r.Services[:asked.limit]
	}
	return c.print(ctx, r, func(w io.Writer) error { return topTable(s.mode, r).print(w) })
}

func topTable(mode loader.Mode, r *top.Report) *table {
	t := &table{head: []string{"SERVICE", "CONN/S", "LATENCY", "FAIL/S", "CONNECTS", "REFUSED", "TIMEOUTS", "ERRORS"}}
	if mode == loader.Ads {
		t.head = append(t.head, "EJECTED")
	}
	for i := range r.Services {
		row := &r.Services[i]
		cells := []any{row.Service, fmt.Sprintf("%.2f", row.Rate), "-", fmt.Sprintf("%.2f", row.FailureRate),
			row.Connects, row.Refused, row.Timeouts, row.Errors}
		if row.Took > 0 {
			cells[2] = row.Took.Round(time.Microsecond)
		}
		if mode == loader.Ads {
			cells = append(cells, fmt.Sprintf("%d/%d", row.Ejected, row.Endpoints))
		}
		t.add(cells...)
	}
	return t
}

// sampler reads counters, and has them counted for as long as it reads.
type sampler struct {
	mode     loader.Mode
	keeper   *keeper.Keeper
	interval time.Duration

	maps  *loader.Handles // those that were read last
	watch *datalog.Watch  // theirs; nil: none was opened
}

func newSampler(cfg *loader.Config, k *keeper.Keeper, interval time.Duration) (*sampler, error) {
	s := &sampler{mode: cfg.Mode, keeper: k, interval: interval}
	_, err := s.follow()
	return s, err
}

// read reads the maps that are in use, which may be others than before.
func (s *sampler) read() (*top.Sample, error) {
	now := &top.Sample{}
	for {
		err := s.watch.CountFor(s.interval + spare)
		if err != nil {
			return nil, err
		}
		if now.Services, err = s.keeper.Services(); err != nil {
			return nil, err
		}
		if now.Denied, err = s.keeper.Denials(); err != nil {
			return nil, err
		}
		now.At = time.Now()
		others, err := s.follow()
		if err != nil {
			return nil, err
		}
		if !others {
			return now, nil
		}
		now.Anew = true
	}
}

// follow goes over to the maps that are in use, and says whether they are others than before.
func (s *sampler) follow() (others bool, err error) {
	err = s.keeper.Handles(func(h *loader.Handles) error {
		if err := stillInUse(h, "top", "km_watch"); err != nil || h == s.maps {
			return err
		}
		if err := s.close(); err != nil {
			return err
		}
		watch, err := datalog.OpenWatch(h.FD("km_watch"))
		if err != nil {
			return err
		}
		s.maps, s.watch, others = h, watch, true
		return nil
	})
	return others, err
}

// close has nothing counted any more where nobody else looks.
func (s *sampler) close() error {
	if s.watch == nil {
		return nil
	}
	s.watch.CountNoMore()
	err := s.watch.Close()
	s.watch = nil
	return err
}
