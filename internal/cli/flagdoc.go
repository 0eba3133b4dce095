// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/cni"
	"github.com/kmesh-net/kmesh-node/internal/datalog"
	"github.com/kmesh-net/kmesh-node/internal/top"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/loader"
)

// enumerations are the values of the flags that take one of a few.
var enumerations = map[string][]string{
	"mode":               {string(loader.Ads), string(loader.Workload)},
	"log-level":          {"trace", "debug", "info", "warning", "error"},
	"log-format":         {"text", "json"},
	"output":             {"table", "json", "yaml"},
	"manage":             {"enrolled", "all"},
	"control-address":    {"on", "off"},
	"connect-ret":        {loader.ConnectRetAuto, loader.ConnectRetSysExit, loader.ConnectRetOff},
	"outlier-detection":  {"on", "off"},
	dataLogLevel:         datalog.Levels(),
	serviceCounters:      {countAuto, countOn, countOff},
	"sort":               top.Orders(),
	"node-traffic":       {"exempt", "judge"},
	"xdp-mode":           {loader.XDPGeneric, loader.XDPNative},
	"cni-failure-policy": {cni.Open, cni.Closed},
	"cni-log-level":      {"trace", "debug", "info", "warning", "error"},
	"xds-variant":        {string(xdsclient.SotW), string(xdsclient.Delta)},
}

// What a value or an argument is completed with where it is no enumeration.
const (
	pathFile  = "FILE"
	pathDir   = "DIR"
	pathNetns = "NETNS"
	pathPid   = "PID"
)

// paths are the flags that name something a shell can list.
var paths = map[string]string{
	"bpf-fs-path": pathDir, "cgroup2-path": pathDir, "file": pathFile, "config": pathFile, "btf": pathFile,
	"xds-ca": pathFile, "xds-token-file": pathFile,
	"cni-conf-dir": pathDir, "cni-bin-dir": pathDir,
	"netns": pathNetns, "pid": pathPid,
}

func flagShown(f cli.Flag) bool {
	v, ok := f.(cli.VisibleFlag)
	return !ok || v.IsVisible()
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// valueWord stands for the flag's value in texts; "" where it takes none.
func valueWord(f cli.Flag) string {
	name := f.Names()[0]
	switch f.(type) {
	case *cli.BoolFlag:
		return ""
	case *cli.DurationFlag:
		return "DURATION"
	case *cli.UintFlag, *cli.IntFlag, *cli.Uint64Flag:
		if p := paths[name]; p != "" {
			return p
		}
		return "N"
	}
	if e := enumerations[name]; e != nil {
		return strings.Join(e, "|")
	}
	if p := paths[name]; p != "" {
		return p
	}
	return "VALUE"
}

// flagDefault is the value where the flag is not given; "" where that says nothing.
func flagDefault(f cli.Flag) string {
	doc := f.(cli.DocGenerationFlag)
	if !doc.TakesValue() {
		return ""
	}
	switch v := strings.Trim(doc.GetValue(), `"`); v {
	case "0", "0s", "[]":
		return ""
	default:
		return v
	}
}

// visibleFlags are the flags a command takes: its own and the global ones.
func visibleFlags(app *cli.App, c *cli.Command) []cli.Flag {
	var l []cli.Flag
	for _, f := range c.Flags {
		if flagShown(f) {
			l = append(l, f)
		}
	}
	return append(l, globals(app)...)
}

// globals are the flags before the command.
func globals(app *cli.App) []cli.Flag {
	return slices.DeleteFunc(slices.Clone(app.Flags), func(f cli.Flag) bool { return !flagShown(f) || f.Names()[0] == "help" })
}

// argumentsOf is what a command's words are completed with: words of a list, or a
// kind of path.
func argumentsOf(c *cli.Command) (words []string, path string) {
	switch c.Name {
	case "get", "delete":
		word := toGet
		if c.Name == "delete" {
			word = toDelete
		}
		for _, n := range nouns() {
			if w := word(n); w != "" {
				words = append(words, w)
			}
		}
		return words, ""
	case "apply":
		return nil, pathFile
	case "cni":
		return cniWords, ""
	case "completion":
		return shells, ""
	case "exec":
		return nil, "COMMAND"
	}
	return nil, ""
}
