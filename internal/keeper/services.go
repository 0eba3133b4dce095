// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"github.com/kmesh-net/kmesh-node/internal/served"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
)

// Services returns what the data plane counted for each service, by name.
func (k *Keeper) Services() (list []served.Counters, err error) {
	if k.cfg.Mode == loader.Ads {
		err = k.Ads(func(s *store.Store, _ *loader.Handles) (err error) {
			list, err = s.Services()
			return err
		})
		return list, err
	}
	err = k.Workload(func(s *workload.Store, _ *loader.Handles) (err error) {
		list, err = s.Served()
		return err
	})
	return list, err
}

// Denials returns how many connections to this node's pods were denied; ads mode denies
// none.
func (k *Keeper) Denials() (n uint64, err error) {
	if k.cfg.Mode == loader.Ads {
		return 0, nil
	}
	err = k.Workload(func(s *workload.Store, _ *loader.Handles) (err error) {
		n, err = s.Denials()
		return err
	})
	return n, err
}
