// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/kmesh-net/kmesh-node/internal/workload"
)

// OpenWorkload opens the writer of workload mode on h, which stays open until the
// writer is closed.
func (h *Handles) OpenWorkload() (*workload.Store, error) { return h.openWorkload(h.cfg.StoreLock()) }

func (h *Handles) openWorkload(lock string) (*workload.Store, error) {
	s, err := workload.Open(h.FD, workload.Options{LockFile: lock, LockTimeout: h.cfg.LockTimeout,
		HostAddresses: HostAddresses, Log: h.cfg.Log})
	if err != nil {
		return nil, codedLoad("open maps", "configuration", err)
	}
	return s, nil
}

// refresh has the writer bring up to date what follows from the pods of this node.
func (h *Handles) refresh() error {
	if h.cfg.Mode != Workload {
		return nil
	}
	s, err := h.OpenWorkload()
	if err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	if err := errors.Join(s.Refresh(), s.Close()); err != nil {
		return codedLoad("refresh", "configuration", err)
	}
	return nil
}

// Refresh has the writer of the configuration bring up to date what follows from the
// node, before anything is attached that reads it. Where programs were loaded that
// was done beside it.
func (w *WorkloadBpf) Refresh() error {
	if err := fault("store"); err != nil {
		return loadError("refresh", w.t.root(), err, "")
	}
	if w.writer != nil {
		return nil
	}
	return w.bringUpToDate()
}

// bringUpToDate opens the writer, which stays open until Close, and refreshes.
func (w *WorkloadBpf) bringUpToDate() (err error) {
	lock := w.cfg.StoreLock()
	if w.store != nil {
		lock = "" // it is held until the end
	}
	if w.writer, err = w.openWorkload(lock); err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	return w.refreshAgain()
}

func (w *WorkloadBpf) refreshAgain() error {
	err := w.writer.Refresh()
	if err == nil && w.rejudge {
		err = w.writer.Rejudge()
		w.rejudge = false
	}
	if err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	return nil
}

// deriveAnew brings the maps back to settings that were written back.
func (k *node) deriveAnew() error {
	if k.writer == nil {
		return nil // nothing followed from the settings yet
	}
	return k.writer.Refresh()
}

// judgeAnew makes every verdict that was reached one of an older generation.
func (k *node) judgeAnew() error {
	if k.writer == nil {
		return nil // the step before it failed: nothing was judged by the settings
	}
	return k.writer.Rejudge()
}

// Commit is that of ads mode; what the steps before it changed for the writer, or
// what another one wrote to maps that gave way to new ones, is brought up to date.
func (w *WorkloadBpf) Commit() error {
	if err := w.commit(); err != nil {
		return err
	}
	if w.resized["km_policy"] {
		return w.renew()
	}
	if !w.podsChanged {
		return nil
	}
	return w.refreshAgain()
}

// renew has what writers published into the old maps in the new ones; who comes
// later finds that they gave way.
func (w *WorkloadBpf) renew() error {
	if w.oldPstate >= 0 {
		retire := func(v uint32) error {
			return w.withOldPstate("retired", pstateRetired, func(at unsafe.Pointer) { atomic.StoreUint32((*uint32)(at), v) })
		}
		if err := retire(1); err != nil {
			return loadError("retire", "km_pstate", err, "")
		}
		w.undo.push("bring km_pstate back", func() error { return retire(0) })
	}
	if err := w.writer.Renew(); err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	return nil
}
