// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/loader"
)

// withStore opens the store on the pinned maps for do, and leaves what is in it.
func (c *command) withStore(ctx *cli.Context, step string, do func(*store.Store, *loader.Handles) error) error {
	return c.withHandles(ctx, func(cfg *loader.Config, h *loader.Handles) error { return openStore(cfg, h, step, do) })
}

// openStore opens the store on h for do.
func openStore(cfg *loader.Config, h *loader.Handles, step string, do func(*store.Store, *loader.Handles) error) (err error) {
	if err := h.ApiEnvCfg(); err != nil {
		return err
	}
	store.SetLockTimeout(cfg.LockTimeout)
	cfg.Doing("at work on the store")
	s, err := store.Open()
	if err != nil {
		return storeError(step, err)
	}
	defer func() { err = errors.Join(err, storeError(step, s.Close(true))) }()
	return do(s, h)
}

// storeError gives the store's errors their exit codes; one that has its code
// already stays as it is.
func storeError(step string, err error) error {
	var coded *exit.Error
	var invalid *store.InvalidError
	switch {
	case err == nil, errors.As(err, &coded):
		return err
	case errors.Is(err, store.ErrMoved):
		return &exit.Error{Code: exit.Locked, Step: step, Object: "store", Err: err, Remedy: "try again when it publishes less"}
	case errors.Is(err, store.ErrLocked):
		return &exit.Error{Code: exit.Locked, Step: step, Object: "store", Err: err, Remedy: "try again, or give a longer --lock-timeout"}
	case errors.Is(err, store.ErrNoSpace):
		return &exit.Error{Code: exit.Rejected, Step: step, Object: "store", Err: err, Remedy: "what was there before stays"}
	case errors.As(err, &invalid):
		return &exit.Error{Code: exit.Rejected, Step: step, Object: "store", Err: err}
	case errors.Is(err, store.ErrGaveWay):
		return &exit.Error{Code: exit.NotUp, Step: step, Object: "store", Err: err, Remedy: "run it again"}
	case errors.Is(err, store.ErrNotFound):
		return &exit.Error{Code: exit.NotUp, Step: step, Object: "store", Err: err}
	}
	return &exit.Error{Code: exit.NotReady, Step: step, Object: "store", Err: err, Remedy: "what was there before stays; try again"}
}
