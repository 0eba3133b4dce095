// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
)

// withWorkloads opens workload mode's store on the pinned maps for do.
func (c *command) withWorkloads(ctx *cli.Context, do func(*workload.Store) error) error {
	return c.withHandles(ctx, func(_ *loader.Config, h *loader.Handles) (err error) {
		s, err := h.OpenWorkload()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		return do(s)
	})
}
