// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/loader"
)

func upConfigFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "config", Usage: "file or directory that is applied, on a change of mode before the old one goes; may be repeated"}
}

// upWith is up, then apply of what --config names. On a change of mode it is applied while
// the old mode is still at work, so that no connect meets a mode without configuration.
func (c *command) upWith(ctx *cli.Context, cfg *loader.Config) error {
	paths := ctx.StringSlice("config")
	applied := len(paths) == 0
	docs, err := xds.Load(paths, c.stdin)
	if err != nil {
		return err
	}
	put := func(h *loader.Handles) error {
		applied = true
		return c.put(cfg, h, docs)
	}
	if !applied {
		cfg.Configure = put
	}
	l := loader.NewBpfLoader(cfg)
	defer l.Stop()
	if err := l.Start(ctx.Context); err != nil || applied {
		return err
	}
	h, err := loader.OpenPinned(cfg)
	if err != nil {
		return err
	}
	defer h.Close()
	return put(h)
}

// put applies documents to the maps of h, and logs what there is to say about them.
func (c *command) put(cfg *loader.Config, h *loader.Handles, docs []xds.Document) error {
	say := func(r remarks) {
		for _, w := range r.warnings {
			cfg.Log.Warnf("apply: %s", w)
		}
		for _, n := range r.notes {
			cfg.Log.Infof("apply: %s", n)
		}
	}
	if cfg.Mode == loader.Workload {
		s, err := h.OpenWorkload()
		if err != nil {
			return err
		}
		r, err := s.Apply(docs, false)
		if err := errors.Join(err, s.Close()); err != nil {
			return err
		}
		say(remarks{warnings: r.Warnings, notes: r.Notes})
		return nil
	}
	if err := h.ApiEnvCfg(); err != nil {
		return err
	}
	store.SetLockTimeout(cfg.LockTimeout)
	s, err := store.Open()
	if err != nil {
		return storeError("apply", err)
	}
	r, err := xds.Translate(docs, s, xds.Options{})
	if err == nil {
		err = storeError("apply", s.Publish(r.Ops))
	}
	if err := errors.Join(err, storeError("apply", s.Close(true))); err != nil {
		return err
	}
	say(remarks{warnings: r.Warnings, notes: r.Notes})
	return nil
}
