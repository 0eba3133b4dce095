// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/store"
)

// openStore is deserial_init: the C store opens on the handles that ApiEnvCfg put
// into the environment. It proves them, and takes back what a writer that was
// killed half-way has left.
func (k *node) openStore() error {
	if err := fault("store"); err != nil {
		return loadError("deserial_init", k.t.root(), err, "")
	}
	meta, err := mapInfoOf(k.fds["km_meta"])
	if err != nil {
		return loadError("deserial_init", "km_meta", err, "")
	}
	if k.found.Maps["km_meta"] != meta.ID {
		k.undo.push("remove lock of the store", func() error { return removeStoreLock(meta.ID) })
	}
	if k.cfg.Aside != nil {
		return k.cfg.Aside(k.proveStore)
	}
	return k.proveStore()
}

// proveStore opens the store and closes it again.
func (k *node) proveStore() error {
	store.SetLockTimeout(k.cfg.LockTimeout)
	s, err := store.Open()
	if errors.Is(err, store.ErrLocked) {
		return &exit.Error{Code: exit.Locked, Step: "deserial_init", Object: "store", Err: err,
			Remedy: "try again, or give a longer --lock-timeout"}
	}
	if err != nil {
		return loadError("deserial_init", k.t.root(), err, "run: kmesh-node down, then up again")
	}
	if err := s.Close(true); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}
