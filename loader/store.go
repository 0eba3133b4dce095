// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/kmesh-net/kmesh-node/internal/store"
)

// openStore is deserial_init: the C store opens on the handles that ApiEnvCfg put
// into the environment. It proves them, and takes back what a writer that was
// killed half-way has left.
func (k *BpfKmesh) openStore() error {
	if err := fault("store"); err != nil {
		return loadError("deserial_init", k.t.root(), err, "")
	}
	s, err := store.Open()
	if err != nil {
		return loadError("deserial_init", k.t.root(), err, "run: kmesh-node down, then up again")
	}
	s.SetLockTimeout(k.cfg.LockTimeout)
	if err := s.Close(true); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}
