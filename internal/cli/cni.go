// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/cni"
	"github.com/kmesh-net/kmesh-node/loader"
)

// Plugin serves one call of a container runtime, to whom kmesh-node is the plugin
// kmesh-cni, and returns the exit code. objects is as NewCommand's.
func Plugin(objects fs.FS) int {
	collectLate()
	return cni.Main(objects, version)
}

// cniWords are what `cni` does.
var cniWords = []string{"install", "uninstall"}

func (c *command) cni() *cli.Command {
	return &cli.Command{Name: "cni", Usage: "have the container runtime enrol pods, or no longer", ArgsUsage: "install|uninstall",
		Description: "install puts kmesh-node as " + cni.Name + " beside the runtime's plugins, and an entry for it behind the others of\n" +
			"the network that runtimes use, the first file of the directory; what else the file holds keeps its form. Again, it\n" +
			"changes what differs, and a setting that is not given stays as the entry has it. uninstall takes the entry out of every file, and the program, once no pod is left that it\n" +
			"was called for. While kmesh-node is not up, policy open lets pods start unmanaged, and the next up or turn of run\n" +
			"enrols them; with policy closed they fail and are tried again. The mode is the one that is up.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "cni-conf-dir", Value: "/etc/cni/net.d", Usage: "where the runtime's networks are configured"},
			&cli.StringFlag{Name: "cni-bin-dir", Value: "/opt/cni/bin", Usage: "where the runtime's plugins are"},
			&cli.StringFlag{Name: "cni-failure-policy", Value: cni.Open, Usage: "what becomes of a pod while kmesh-node is not up"},
			&cli.DurationFlag{Name: "cni-timeout", Value: cni.Timeout, Usage: "how long a call of the runtime may take in all"},
			&cli.StringFlag{Name: "cni-log-level", Value: "warning", Usage: "of what the plugin says, which is in the runtime's log"},
			&cli.StringSliceFlag{Name: "cni-exclude-namespace", Usage: "namespace of Kubernetes whose pods are left alone; may be repeated"},
		},
		Action: func(ctx *cli.Context) error {
			word, err := cniWord(ctx)
			if err != nil {
				return err
			}
			cfg, err := c.config(ctx)
			if err != nil {
				return err
			}
			at := cni.Place{ConfDir: ctx.String("cni-conf-dir"), BinDir: ctx.String("cni-bin-dir")}
			out, err := c.editNetworks(ctx, cfg, word, at)
			if err != nil {
				return err
			}
			return c.print(ctx, out, func(w io.Writer) error { return printOutcome(w, word, out) })
		}}
}

func cniWord(ctx *cli.Context) (string, error) {
	if ctx.Args().Len() == 1 {
		for _, w := range cniWords {
			if w == ctx.Args().First() {
				return w, nil
			}
		}
	}
	return "", usage("cni needs one of install, uninstall")
}

func (c *command) editNetworks(ctx *cli.Context, cfg *loader.Config, word string, at cni.Place) (*cni.Outcome, error) {
	if word == "uninstall" {
		return cni.Uninstall(at, cfg.PodRecords().InUse)
	}
	s, err := cniSettings(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return cni.Install(at, "/proc/self/exe", s)
}

// cniSettings are what this call says; the plugin's entry keeps the others.
func cniSettings(ctx *cli.Context, cfg *loader.Config) (s cni.Settings, err error) {
	if ctx.IsSet("cni-failure-policy") {
		if s.FailurePolicy, err = enumOf(ctx, "cni-failure-policy"); err != nil {
			return s, err
		}
	}
	if ctx.IsSet("cni-log-level") {
		if s.LogLevel, err = enumOf(ctx, "cni-log-level"); err != nil {
			return s, err
		}
	}
	if ctx.IsSet("cni-timeout") {
		s.Timeout = ctx.Duration("cni-timeout").String()
		if _, err := cni.ParseTimeout(s.Timeout); err != nil {
			return s, usage("--cni-timeout %w", err)
		}
	}
	if ctx.IsSet("cni-exclude-namespace") {
		s.ExcludeNamespaces = nonNil(listFlag(ctx, "cni-exclude-namespace"))
	}
	for _, n := range s.ExcludeNamespaces {
		if err := cni.CheckNamespace(n); err != nil {
			return s, usage("--cni-exclude-namespace %w", err)
		}
	}
	if given(ctx, "bpf-fs-path") {
		if s.BpfFsPath, err = filepath.Abs(cfg.BpfFsPath); err != nil {
			return s, fmt.Errorf("find --bpf-fs-path: %w", err)
		}
	}
	return s, nil
}

func printOutcome(w io.Writer, word string, out *cni.Outcome) error {
	for _, n := range out.Notes {
		if _, err := fmt.Fprintln(w, "note:", n); err != nil {
			return err
		}
	}
	for _, path := range out.Changed {
		if _, err := fmt.Fprintf(w, "%sed: %s\n", word, path); err != nil {
			return err
		}
	}
	if len(out.Changed) == 0 {
		if _, err := fmt.Fprintln(w, "nothing to change"); err != nil {
			return err
		}
	}
	s := out.Settings
	if s == nil {
		return nil
	}
	_, err := fmt.Fprintf(w, "settings: failure policy %s, timeout %s, log level %s, bpffs %s, excluded namespaces: %s\n",
		s.FailurePolicy, s.Timeout, s.LogLevel, s.BpfFsPath, orNone(s.ExcludeNamespaces))
	return err
}

func orNone(l []string) string {
	if len(l) == 0 {
		return "none"
	}
	return strings.Join(l, ", ")
}
