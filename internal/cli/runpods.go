// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/kmesh-net/kmesh-node/internal/keeper"
	"github.com/kmesh-net/kmesh-node/internal/podline"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
)

// pods is the part that answers the CNI plugin: what the configuration says of a pod is
// brought up to date here, where it is at hand.
type pods struct {
	cfg    *loader.Config
	keeper *keeper.Keeper
	server *podline.Server
}

func (p *pods) start(context.Context) (err error) {
	p.server, err = podline.Serve(p.cfg.PodSocket(), p.refresh, func(err error) {
		p.cfg.Log.WithError(err).Warn("a call of the CNI plugin went wrong")
	})
	return err
}

func (p *pods) refresh() error {
	return p.keeper.Workload(func(s *workload.Store, _ *loader.Handles) error { return s.Refresh() })
}

func (p *pods) close() error { return p.server.Close() }
