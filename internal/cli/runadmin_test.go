// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"path/filepath"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/loader"
)

func TestAnAddressIsTriedBeforeTheStart(t *testing.T) {
	dir := t.TempDir()
	for address, code := range map[string]int{
		"127.0.0.1:0":              0,
		"unix:" + dir + "/s":       0,
		"unix:" + dir + "/run/s":   0, // the start makes the directory
		"unix:" + dir + "/other/s": exit.NotReady,
		"192.0.2.1:80":             exit.NotReady,
		"nowhere":                  exit.Usage,
	} {
		d := &daemon{cfg: &loader.Config{RunDir: filepath.Join(dir, "run")}}
		app := &cli.App{Flags: adminFlags(), Action: func(ctx *cli.Context) error { return d.addAdmin(ctx, reconcileInterval) }}
		if err := app.Run([]string{"run", "--admin-address", address}); exit.Code(err) != code {
			t.Errorf("%s: %v, want code %d", address, err, code)
		}
	}
}
