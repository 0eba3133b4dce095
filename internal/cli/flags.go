// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/loader"
)

// envPrefix begins the variable that stands for each flag.
const envPrefix = "KMESH_NODE_"

// globalFlags are taken before the command and after it. Only those before it
// have defaults and variables, or the ones after it would always be set.
func globalFlags(defaults bool) []cli.Flag {
	d := loader.Default()
	value := func(s string) string {
		if defaults {
			return s
		}
		return ""
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "mode", Value: value(string(d.Mode)), Usage: "data plane: ads or workload; but for up, run and plan the one that is up", Hidden: !defaults},
		&cli.StringFlag{Name: "bpf-fs-path", Value: value(d.BpfFsPath), Usage: "bpffs that the pins are in", Hidden: !defaults},
		&cli.StringFlag{Name: "cgroup2-path", Value: value(d.Cgroup2Path), Usage: "cgroup2 directory whose processes are managed", Hidden: !defaults},
		&cli.StringFlag{Name: "btf", Usage: "file with the BTF of this kernel (default: /sys/kernel/btf/vmlinux)", Hidden: !defaults},
		&cli.StringFlag{Name: "log-level", Value: value("info"), Usage: "trace, debug, info, warning, error", Hidden: !defaults},
		&cli.StringFlag{Name: "log-format", Value: value("text"), Usage: "text or json", Hidden: !defaults},
		&cli.DurationFlag{Name: "lock-timeout", Value: d.LockTimeout, Usage: "how long to wait for another writer of the store", Hidden: !defaults},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: value("table"), Usage: "form of data: table, json or yaml", Hidden: !defaults},
	}
}

// envOf is the variable of a flag.
func envOf(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// withEnv gives each flag its variable.
func withEnv(flags []cli.Flag) []cli.Flag {
	for _, f := range flags {
		env := []string{envOf(f.Names()[0])}
		switch f := f.(type) {
		case *cli.StringFlag:
			f.EnvVars = env
		case *cli.BoolFlag:
			f.EnvVars = env
		case *cli.DurationFlag:
			f.EnvVars = env
		case *cli.UintFlag:
			f.EnvVars = env
		case *cli.IntFlag:
			f.EnvVars = env
		case *cli.Uint64Flag:
			f.EnvVars = env
		case *cli.StringSliceFlag:
			f.EnvVars = env
		default:
			panic("flag " + f.Names()[0] + " has a type that withEnv does not know")
		}
	}
	return flags
}

// setIn is the innermost context in which the global flag is set, the outermost
// where it is set in none.
func setIn(ctx *cli.Context, name string) *cli.Context {
	lineage := ctx.Lineage()
	for _, c := range lineage {
		if c.Command != nil && c.IsSet(name) {
			return c
		}
	}
	for _, c := range slices.Backward(lineage) {
		if slices.Contains(c.FlagNames(), name) || c.Value(name) != nil {
			return c
		}
	}
	return ctx
}

func global(ctx *cli.Context, name string) string { return setIn(ctx, name).String(name) }

func globalDuration(ctx *cli.Context, name string) time.Duration {
	return setIn(ctx, name).Duration(name)
}

// given says whether a global flag was given, as a word or by its variable.
func given(ctx *cli.Context, name string) bool {
	return slices.ContainsFunc(ctx.Lineage(), func(c *cli.Context) bool { return c.Command != nil && c.IsSet(name) })
}

// starts are the commands that choose a mode; the others go by what is up.
var starts = []string{"up", "run", "plan"}

// config reads what all commands share.
func (c *command) config(ctx *cli.Context) (*loader.Config, error) {
	cfg := loader.Default()
	cfg.Objects = c.objects
	cfg.Release = version
	cfg.Mode = loader.Mode(global(ctx, "mode"))
	cfg.BpfFsPath = global(ctx, "bpf-fs-path")
	cfg.Cgroup2Path = global(ctx, "cgroup2-path")
	cfg.BTF = global(ctx, "btf")
	cfg.LockTimeout = globalDuration(ctx, "lock-timeout")
	if cfg.Mode != loader.Ads && cfg.Mode != loader.Workload {
		return nil, usage("--mode %s: it is ads or workload", cfg.Mode)
	}
	if up := loader.ModesUp(&cfg); len(up) == 1 && !given(ctx, "mode") && !slices.Contains(starts, ctx.Command.Name) {
		cfg.Mode = up[0]
	}
	if cfg.LockTimeout < 0 {
		return nil, usage("--lock-timeout %v is negative", cfg.LockTimeout)
	}
	log, err := c.newLogger(global(ctx, "log-level"), global(ctx, "log-format"), string(cfg.Mode))
	if err != nil {
		return nil, err
	}
	cfg.Log = log
	cfg.Doing = c.doing(ctx.Command.Name)
	_, err = outputOf(ctx)
	return &cfg, err
}

// switchFlag reads a flag that is "on" or "off".
func switchFlag(ctx *cli.Context, name string) (bool, error) {
	switch v := ctx.String(name); v {
	case "on":
		return true, nil
	case "off":
		return false, nil
	default:
		return false, usage("--%s %s: it is on or off", name, v)
	}
}

// permute lets flags stand behind arguments: `get clusters NAME -o json`. What
// follows `--`, or the command of `exec`, is not looked at.
func permute(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	flags := app.Flags
	out := []string{args[0]}
	i := 1
	for ; i < len(args) && strings.HasPrefix(args[i], "-"); i++ {
		out = append(out, args[i])
		if takesValue(flags, args[i]) && i+1 < len(args) {
			i++
			out = append(out, args[i])
		}
	}
	if i == len(args) {
		return args
	}
	cmd := app.Command(args[i])
	if cmd == nil || cmd.Name == "exec" {
		return args
	}
	out = append(out, args[i])
	var words []string
	for i++; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			words = append(words, args[i:]...)
			i = len(args)
		case a == "--help" || a == "-help" || a == "-h":
			// The library takes a word beside it for a command to be helped with.
			return append(out, "--help")
		case len(a) > 1 && a[0] == '-':
			out = append(out, a)
			if takesValue(cmd.Flags, a) && i+1 < len(args) {
				i++
				out = append(out, args[i])
			}
		default:
			words = append(words, a)
		}
	}
	return append(out, words...)
}

// takesValue says whether the word after a is the value of the flag a.
func takesValue(flags []cli.Flag, a string) bool {
	name := strings.TrimLeft(a, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool
		}
	}
	return false
}

// enumOf is the value of a flag that takes one of those in enumerations.
func enumOf(ctx *cli.Context, name string) (string, error) {
	v, allowed := ctx.String(name), enumerations[name]
	if slices.Contains(allowed, v) {
		return v, nil
	}
	return "", usage("--%s %s: it is %s", name, v, strings.Join(allowed, ", "))
}
