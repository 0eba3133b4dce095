// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"time"
)

// BpfKmesh is one `up` of the ads mode.
type BpfKmesh struct{ *node }

// NewBpfKmesh prepares the host for ads mode; on an error everything is as it was.
func NewBpfKmesh(cfg *Config) (*BpfKmesh, error) {
	begin := time.Now()
	k, err := newNode(cfg)
	if err != nil {
		return nil, err
	}
	k.beside = k.firstSlab
	k.timed(begin).Log(k.level(), "phase NewBpfKmesh")
	return &BpfKmesh{k}, nil
}

// firstSlab puts km_inner into km_outer where it is not yet. The kernel waits for a
// grace period there, so it is done while the verifier works.
func (h *Handles) firstSlab() error {
	var id uint32
	err := mapLookup(h.fds["km_outer"], uint32(0), &id)
	if errors.Is(err, os.ErrNotExist) {
		err = mapUpdate(h.fds["km_outer"], uint32(0), uint32(h.fds["km_inner"]))
	}
	if err != nil {
		return loadError("put the first slab", "km_outer", err, "")
	}
	return nil
}
