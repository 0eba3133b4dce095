// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/loader"
)

// modeOf runs a command's line and returns the mode that it goes by.
func modeOf(t *testing.T, args ...string) (got loader.Mode) {
	t.Helper()
	c := &command{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	app := newApp(c)
	for _, cmd := range app.Commands {
		cmd.Action = func(ctx *cli.Context) error {
			cfg, err := c.config(ctx)
			if err == nil {
				got = cfg.Mode
			}
			return err
		}
	}
	if err := app.Run(append([]string{"kmesh-node"}, args...)); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestACommandGoesByTheModeThatIsUp(t *testing.T) {
	for _, c := range []struct {
		up   []loader.Mode
		args []string
		want loader.Mode
	}{
		{nil, []string{"status"}, loader.Workload},
		{[]loader.Mode{loader.Ads}, []string{"status"}, loader.Ads},
		{[]loader.Mode{loader.Workload}, []string{"status"}, loader.Workload},
		{[]loader.Mode{loader.Ads}, []string{"--mode", "workload", "status"}, loader.Workload},
		{[]loader.Mode{loader.Ads}, []string{"status", "--mode", "workload"}, loader.Workload},
		{[]loader.Mode{loader.Ads}, []string{"up"}, loader.Workload},
		{[]loader.Mode{loader.Ads}, []string{"run"}, loader.Workload},
		{[]loader.Mode{loader.Ads, loader.Workload}, []string{"status"}, loader.Workload},
	} {
		fs := t.TempDir()
		for _, m := range c.up {
			dir := filepath.Join(fs, "kmesh_node", string(m))
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "meta"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := modeOf(t, append([]string{"--bpf-fs-path", fs}, c.args...)...); got != c.want {
			t.Errorf("%q with %v up: mode %s, want %s", c.args, c.up, got, c.want)
		}
	}
	t.Setenv("KMESH_NODE_MODE", "ads")
	if got := modeOf(t, "--bpf-fs-path", t.TempDir(), "up"); got != loader.Ads {
		t.Errorf("the variable says ads, the mode is %s", got)
	}
}
