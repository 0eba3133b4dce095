// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/loader"
)

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
		&cli.UintFlag{Name: "workloads", Value: uint(d.Workloads), Usage: "how many workloads there is room for, about 64 bytes each; a power of two"},
		&cli.UintFlag{Name: "policy-slots", Value: uint(d.PolicySlots), Usage: "room for compiled policies, 128 bytes each; a power of two"},
	}
}

// workloadConfig reads the flags of workload mode.
func workloadConfig(ctx *cli.Context, cfg *loader.Config) (err error) {
	w := &cfg.Workload
	port := ctx.Uint("waypoint-port")
	if port < 1 || port > 65535 {
		return usage("--waypoint-port %d is not 1..65535", port)
	}
	w.WaypointPort = uint16(port)
	traffic, err := enumOf(ctx, "node-traffic")
	if err != nil {
		return err
	}
	w.JudgeNode = traffic == "judge"
	if cfg.XDPMode, err = enumOf(ctx, "xdp-mode"); err != nil {
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
	if cfg.Workloads, err = powerOfTwo(ctx, "workloads", uint(loader.MinWorkloads), 1<<20); err != nil {
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
