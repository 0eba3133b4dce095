// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/loader"
)

// upFlags are those of up and run.
func upFlags() []cli.Flag {
	l := []cli.Flag{
		&cli.StringFlag{Name: "manage", Value: "enrolled", Usage: "whose connections: enrolled network namespaces, or all processes under the cgroup"},
		&cli.StringFlag{Name: "control-address", Value: "off", Usage: "let a pod enrol by connecting to the control address: on or off"},
	}
	return append(append(l, adsFlags()...), workloadFlags()...)
}

// adsFlags are those of up that only ads mode knows.
func adsFlags() []cli.Flag {
	d := loader.Default()
	return []cli.Flag{
		&cli.StringFlag{Name: "connect-ret", Value: d.ConnectRet, Usage: "how the result of connect is learnt: auto, sys_exit_connect or off"},
		&cli.StringFlag{Name: "outlier-detection", Value: "on", Usage: "skip an endpoint that keeps failing: on or off"},
		&cli.UintFlag{Name: "outlier-failures", Value: uint(d.Settings.OutlierFailures), Usage: "failed connects in a row after which it is skipped"},
		&cli.DurationFlag{Name: "outlier-backoff", Value: d.Settings.OutlierBackoff, Usage: "for how long at first; doubles each time"},
		&cli.DurationFlag{Name: "outlier-backoff-max", Value: d.Settings.OutlierBackoffMax, Usage: "for how long at most"},
	}
}

// otherModes refuses a flag that was given and says nothing to this mode.
func otherModes(ctx *cli.Context, m loader.Mode) error {
	flags, of := adsFlags(), loader.Ads
	if m == loader.Ads {
		flags, of = workloadFlags(), loader.Workload
	}
	for _, f := range flags {
		if name := f.Names()[0]; ctx.IsSet(name) {
			return usage("--%s is of --mode %s, and this is --mode %s", name, of, m)
		}
	}
	return nil
}

func (c *command) upConfig(ctx *cli.Context) (*loader.Config, error) {
	cfg, err := c.config(ctx)
	if err != nil {
		return nil, err
	}
	if err := otherModes(ctx, cfg.Mode); err != nil {
		return nil, err
	}
	if err := workloadConfig(ctx, cfg); err != nil {
		return nil, err
	}
	if cfg.ConnectRet, err = enumOf(ctx, "connect-ret"); err != nil {
		return nil, err
	}
	manage, err := enumOf(ctx, "manage")
	if err != nil {
		return nil, err
	}
	s := &cfg.Settings
	s.ManageAll = manage == "all"
	if s.ControlAddress, err = switchFlag(ctx, "control-address"); err != nil {
		return nil, err
	}
	detect, err := switchFlag(ctx, "outlier-detection")
	if err != nil {
		return nil, err
	}
	n := ctx.Uint("outlier-failures")
	s.OutlierBackoff, s.OutlierBackoffMax = ctx.Duration("outlier-backoff"), ctx.Duration("outlier-backoff-max")
	switch {
	case n < 1 || n > 1<<20:
		return nil, usage("--outlier-failures %d is not 1..%d", n, 1<<20)
	case s.OutlierBackoff < time.Millisecond:
		return nil, usage("--outlier-backoff %v is less than 1ms", s.OutlierBackoff)
	case s.OutlierBackoffMax < s.OutlierBackoff:
		return nil, usage("--outlier-backoff-max %v is less than --outlier-backoff %v", s.OutlierBackoffMax, s.OutlierBackoff)
	}
	s.OutlierFailures = uint32(n)
	if !detect {
		s.OutlierFailures = 0
	}
	return cfg, nil
}

func (c *command) up() *cli.Command {
	return &cli.Command{Name: "up", Usage: "prepare, load, attach, pin and exit; again: adopt what is there",
		Flags: append(upFlags(), upConfigFlag()),
		Action: noArgs(func(ctx *cli.Context) error {
			cfg, err := c.upConfig(ctx)
			if err != nil {
				return err
			}
			return c.upWith(ctx, cfg)
		})}
}

func (c *command) down() *cli.Command {
	return &cli.Command{Name: "down", Usage: "detach and remove all that kmesh-node made, and nothing else",
		Action: noArgs(func(ctx *cli.Context) error {
			cfg, err := c.config(ctx)
			if err != nil {
				return err
			}
			if !given(ctx, "mode") {
				cfg.Mode = "" // each
			}
			removed, err := loader.Down(cfg)
			for _, r := range removed {
				cfg.Log.Debugf("removed %s", r)
			}
			if err == nil {
				cfg.Log.Infof("down: %d removed", len(removed))
			}
			return err
		})}
}
