// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"strings"
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

// workloadFlags are those of up that only workload mode knows.
func workloadFlags() []cli.Flag {
	d := loader.Default()
	return []cli.Flag{
		&cli.UintFlag{Name: "waypoint-port", Value: uint(d.Workload.WaypointPort), Usage: "plain port of waypoints"},
		&cli.StringFlag{Name: "node-traffic", Value: "exempt", Usage: "connections from the node's own addresses: exempt from authorization, or judge them"},
		&cli.StringFlag{Name: "node-name", Usage: "this node in workloads (default: the host's name)"},
		&cli.StringFlag{Name: "locality", Usage: "where this node is: REGION[/ZONE[/SUBZONE]] (default: that of its workloads)"},
		&cli.StringFlag{Name: "xdp-mode", Value: d.XDPMode, Usage: "xdpauth on the devices of pods: generic or native"},
		&cli.UintFlag{Name: "flow-entries", Value: uint(d.FlowEntries), Usage: "verdicts that are kept, 64 bytes each; a power of two"},
		&cli.UintFlag{Name: "policy-slots", Value: uint(d.PolicySlots), Usage: "room for compiled policies, 128 bytes each; a power of two"},
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
	if cfg.ConnectRet, err = oneOf(ctx, "connect-ret", loader.ConnectRetAuto, loader.ConnectRetSysExit, loader.ConnectRetOff); err != nil {
		return nil, err
	}
	manage, err := oneOf(ctx, "manage", "enrolled", "all")
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

// workloadConfig reads the flags of workload mode.
func workloadConfig(ctx *cli.Context, cfg *loader.Config) (err error) {
	w := &cfg.Workload
	port := ctx.Uint("waypoint-port")
	if port < 1 || port > 65535 {
		return usage("--waypoint-port %d is not 1..65535", port)
	}
	w.WaypointPort = uint16(port)
	traffic, err := oneOf(ctx, "node-traffic", "exempt", "judge")
	if err != nil {
		return err
	}
	w.JudgeNode = traffic == "judge"
	if cfg.XDPMode, err = oneOf(ctx, "xdp-mode", loader.XDPGeneric, loader.XDPNative); err != nil {
		return err
	}
	if w.NodeName = ctx.String("node-name"); w.NodeName == "" {
		if w.NodeName, err = os.Hostname(); err != nil {
			return fmt.Errorf("read the host's name: %w", err)
		}
	}
	for i, part := range strings.Split(ctx.String("locality"), "/") {
		switch i {
		case 0:
			w.Region = part
		case 1:
			w.Zone = part
		case 2:
			w.Subzone = part
		default:
			return usage("--locality %s: it is REGION[/ZONE[/SUBZONE]]", ctx.String("locality"))
		}
		if part == "" && ctx.String("locality") != "" {
			return usage("--locality %s: a part of it is empty", ctx.String("locality"))
		}
	}
	for _, f := range []struct{ flag, value string }{
		{"node-name", w.NodeName}, {"locality", w.Region}, {"locality", w.Zone}, {"locality", w.Subzone}} {
		if len(f.value) > loader.MaxName || strings.Contains(f.value, "\x00") {
			return usage("--%s %q: longer than %d bytes, or with a zero in it", f.flag, f.value, loader.MaxName)
		}
	}
	if cfg.FlowEntries, err = powerOfTwo(ctx, "flow-entries", 2, 1<<24); err != nil {
		return err
	}
	cfg.PolicySlots, err = powerOfTwo(ctx, "policy-slots", uint(loader.MinPolicySlots), 1<<22)
	return err
}

func powerOfTwo(ctx *cli.Context, name string, least, most uint) (uint32, error) {
	n := ctx.Uint(name)
	if n < least || n > most || n&(n-1) != 0 {
		return 0, usage("--%s %d is not a power of two in %d..%d", name, n, least, most)
	}
	return uint32(n), nil
}

func (c *command) up() *cli.Command {
	return &cli.Command{Name: "up", Usage: "prepare, load, attach, pin and exit; again: adopt what is there", Flags: upFlags(),
		Action: noArgs(func(ctx *cli.Context) error {
			cfg, err := c.upConfig(ctx)
			if err != nil {
				return err
			}
			l := loader.NewBpfLoader(cfg)
			defer l.Stop()
			return l.Start(ctx.Context)
		})}
}

func (c *command) run() *cli.Command {
	return &cli.Command{Name: "run", Usage: "up, then stay until SIGTERM; the data plane outlives it", Flags: upFlags(),
		Action: noArgs(func(ctx *cli.Context) error {
			cfg, err := c.upConfig(ctx)
			if err != nil {
				return err
			}
			cfg.Stay = true
			l := loader.NewBpfLoader(cfg)
			defer l.Stop()
			if err := l.Start(ctx.Context); err != nil {
				return err
			}
			collectAsUsual()
			<-ctx.Done()
			cfg.Log.Info("run: stopped; the data plane stays")
			return nil
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
