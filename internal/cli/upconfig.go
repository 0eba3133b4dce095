// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/keeper"
	"github.com/kmesh-net/kmesh-node/loader"
)

func upConfigFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "config", Usage: "file or directory whose content is in force from then on; may be repeated"}
}

// upWith is up, with what --config names in force at its end. What is wrong with that
// ends it before anything has changed.
func (c *command) upWith(ctx *cli.Context, cfg *loader.Config) error {
	src := newSource(cfg, keeper.New(cfg, false), listFlag(ctx, "config"))
	if _, err := src.read(); err != nil {
		return err
	}
	cfg.Configure = src.configure
	l := loader.NewBpfLoader(cfg)
	defer l.Stop()
	if err := l.Start(ctx.Context); err != nil {
		return err
	}
	if len(src.paths) == 0 {
		return nil
	}
	did, err := src.change(nil)
	if err == nil {
		cfg.Log.Infof("configuration in force: %s", did)
	}
	return err
}
