// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/admin"
	"github.com/kmesh-net/kmesh-node/internal/datalog"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/metrics"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
)

const (
	adminAddress = "127.0.0.1:15200"
	adminOff     = "off"

	metricsServices = "metrics-services"
	servicesNamed   = 1000
	maxNamed        = 100_000
	// mapsTime is how long a scrape waits for the maps, which a writer may hold.
	mapsTime = time.Second
)

func adminFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "admin-address", Value: adminAddress, Usage: "where probes, metrics and dumps are served: HOST:PORT, unix:PATH or off"},
		&cli.BoolFlag{Name: "admin-allow-writes", Usage: "let what reaches --admin-address set log levels, and take profiles, also where that is not loopback"},
		&cli.UintFlag{Name: metricsServices, Value: servicesNamed, Usage: "services, and policies, that metrics name; the others are one, (other)"},
		&cli.BoolFlag{Name: "admin-pprof", Usage: "serve profiles of the process at /debug/pprof/"},
	}
}

// adminPart is the admin endpoint of a `run`.
type adminPart struct {
	d        *daemon
	cfg      admin.Config
	must     bool // the address was asked for: without it there is no run
	interval time.Duration
	server   *admin.Server // nil: there is none
	look     admin.Shared[[]string]
	groups   []*scraped
	policies metrics.Ranking // of what one scrape at a time reads
	services metrics.Ranking
	figures  workload.Reader
	dumping  chan struct{} // one dump at a time
	read     func(wanted func(plural string) bool) ([]section, error)
}

// addAdmin reads the flags, and adds the part unless it is off.
func (d *daemon) addAdmin(ctx *cli.Context, interval time.Duration) error {
	address := ctx.String("admin-address")
	if address == "" || address == adminOff {
		return nil
	}
	if err := admin.Check(address); err != nil {
		return usage("--admin-address %w", err)
	}
	must := ctx.IsSet("admin-address")
	if must { // or the start would fail when the data plane is up
		d.cfg.Alone = func() error { return admin.Try(address) }
	}
	named := ctx.Uint(metricsServices)
	if named > maxNamed {
		return usage("--%s %d is more than %d", metricsServices, named, maxNamed)
	}
	ranking := metrics.Ranking{Limit: int(named)}
	a := &adminPart{policies: ranking, services: ranking, d: d, must: must, interval: interval, dumping: make(chan struct{}, 1)}
	a.look.Read, a.read = a.findReasons, a.sections
	a.groups = a.newGroups()
	a.cfg = admin.Config{
		Address: address, Writes: ctx.Bool("admin-allow-writes"), Profiles: ctx.Bool("admin-pprof"), Log: d.cfg.Log,
		Healthy: func() error { return d.pulse.alive(interval) },
		Ready:   a.reasons,
		Metrics: metrics.Handler(a.snapshot),
		Dump:    a.dump,
		Levels:  []admin.Level{a.processLevel(), a.dataPlaneLevel()},
	}
	d.parts = append(d.parts, a)
	return nil
}

// start listens. Where the address is the default and somebody else's, the data plane
// matters more.
func (a *adminPart) start(context.Context) (err error) {
	a.server, err = admin.Serve(a.cfg)
	switch {
	case err == nil:
		a.d.cfg.Log.Infof("admin endpoint: %s", a.server)
	case !a.must:
		a.d.cfg.Log.WithError(err).Warn("no admin endpoint: probes and metrics of this run are not served")
		err = nil
	}
	return err
}

func (a *adminPart) close() error {
	if a.server == nil {
		return nil
	}
	return a.server.Close()
}

// reasons are why things are not as they should be, looked for now.
func (a *adminPart) reasons(ctx context.Context) []string {
	l, err := a.look.Get(ctx)
	if err != nil {
		return []string{"a look at programs and links takes longer than this request"}
	}
	return l
}

// findReasons compares as a turn does, and changes nothing.
func (a *adminPart) findReasons() []string {
	l := a.d.pulse.reasons()
	p, err := loader.MakePlan(a.d.cfg)
	if err != nil {
		l = append(l, err.Error())
	} else {
		pending := p.Pending()
		for _, c := range pending {
			if c.Kind == "record" && len(pending) > 1 {
				continue // it follows from the others
			}
			text := c.Kind + " " + c.Name + ": to " + c.Action
			if c.Why != "" {
				text += ": " + c.Why
			}
			l = append(l, text)
		}
	}
	if a.d.live == nil {
		return l
	}
	if st := a.d.live.client.State(); !st.Synced {
		text := "what " + st.Address + " says is not all in force: " + st.Missing + " missing"
		if st.LastError != "" {
			text += ": " + st.LastError
		}
		l = append(l, text)
	}
	return l
}

// processLevel is the log level of this process.
func (a *adminPart) processLevel() admin.Level {
	log := a.d.cfg.Log
	return admin.Level{Name: "process", Values: enumerations["log-level"],
		Get: func() (string, error) { return log.GetLevel().String(), nil },
		Set: func(v string) error {
			level, err := logrus.ParseLevel(v)
			if err != nil {
				return &exit.Error{Code: exit.Usage, Step: "set log level", Object: v, Err: err}
			}
			log.SetLevel(level)
			log.Infof("log level: %s", v)
			return nil
		}}
}

// dataPlaneLevel is what the data plane tells of single connections.
func (a *adminPart) dataPlaneLevel() admin.Level {
	return admin.Level{Name: "dataplane", Values: datalog.Levels(),
		Get: func() (string, error) { return a.d.datalog.Level() },
		Set: func(v string) error { return a.d.datalog.SetLevel(v) }}
}

var errBusy = errors.New("the maps are in use")

// inUse is the error of a request that would wait too long.
func inUse(step string) error {
	return &exit.Error{Code: exit.Locked, Step: step, Object: "maps", Err: errBusy, Remedy: "ask again"}
}
