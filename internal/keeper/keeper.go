// SPDX-License-Identifier: Apache-2.0

// Package keeper holds the maps of the mode that is up, and their writer, open for the
// parts of a process that stays. The store in C is one of the process: all of its
// users in `run` go through here, one at a time.
package keeper

import (
	"errors"
	"sync"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
)

// Keeper opens when first asked. It is safe for several goroutines.
type Keeper struct {
	cfg *loader.Config
	// stay keeps what was opened for the next one who asks.
	stay bool
	// lent handles are another's to close.
	lent bool

	mu       sync.Mutex
	handles  *loader.Handles
	ads      *store.Store
	workload *workload.Store
}

// New returns a Keeper for what is pinned where cfg says. With stay the maps and the
// writer stay open between two calls, as suits one who changes them often.
func New(cfg *loader.Config, stay bool) *Keeper { return &Keeper{cfg: cfg, stay: stay} }

// Over returns a Keeper for the maps of h, which are not pinned yet. Its Close closes
// what it opened on them, and leaves h open.
func Over(cfg *loader.Config, h *loader.Handles) *Keeper {
	return &Keeper{cfg: cfg, stay: true, lent: true, handles: h}
}

// Ads calls do with the open store of ads mode. Where another `up` made the maps
// anew, do is called once more with those: it must read again what it read.
func (k *Keeper) Ads(do func(*store.Store, *loader.Handles) error) error {
	return k.with(func() error {
		if err := k.openAds(); err != nil {
			return err
		}
		return do(k.ads, k.handles)
	})
}

// Workload calls do with the open writer of workload mode, as Ads does.
func (k *Keeper) Workload(do func(*workload.Store, *loader.Handles) error) error {
	return k.with(func() error {
		if err := k.openWorkload(); err != nil {
			return err
		}
		return do(k.workload, k.handles)
	})
}

// Handles calls do with the open maps alone.
func (k *Keeper) Handles(do func(*loader.Handles) error) error {
	return k.with(func() error {
		if err := k.openHandles(); err != nil {
			return err
		}
		return do(k.handles)
	})
}

// Aside calls do while nothing is open here: do opens the store itself.
func (k *Keeper) Aside(do func() error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return errors.Join(k.close(), do())
}

// Close closes what is open.
func (k *Keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.close()
}

func (k *Keeper) with(do func() error) (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.stay {
		defer func() { err = errors.Join(err, k.close()) }()
	}
	fresh := k.handles == nil
	if err = do(); err == nil || fresh || !gaveWay(err) {
		return err
	}
	if err := k.close(); err != nil {
		return err
	}
	return do()
}

// gaveWay says whether the maps that were open are no longer those in use.
func gaveWay(err error) bool {
	return errors.Is(err, store.ErrGaveWay) || exit.Code(err) == exit.NotUp
}

func (k *Keeper) openHandles() (err error) {
	if k.handles == nil {
		k.handles, err = loader.OpenPinned(k.cfg)
	}
	return err
}

func (k *Keeper) openAds() error {
	if k.ads != nil {
		return nil
	}
	if err := k.openHandles(); err != nil {
		return err
	}
	if err := k.handles.ApiEnvCfg(); err != nil {
		return err
	}
	store.SetLockTimeout(k.cfg.LockTimeout)
	s, err := store.Open()
	if err == nil {
		k.ads = s
	}
	return err
}

func (k *Keeper) openWorkload() error {
	if k.workload != nil {
		return nil
	}
	if err := k.openHandles(); err != nil {
		return err
	}
	s, err := k.handles.OpenWorkload()
	if err == nil {
		k.workload = s
	}
	return err
}

func (k *Keeper) close() (err error) {
	if k.ads != nil {
		err = k.ads.Close(true)
	}
	if k.workload != nil {
		err = errors.Join(err, k.workload.Close())
	}
	k.ads, k.workload = nil, nil
	if k.handles != nil && !k.lent {
		k.handles.Close()
		k.handles = nil
	}
	return err
}
