// SPDX-License-Identifier: Apache-2.0

// Package metrics is what Prometheus is told of a live `run`: one table (table.go), from
// which the page docs/metrics.md and the dashboard follow.
package metrics

import (
	"time"

	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/loader"
)

// Snapshot is what one scrape found. What could not be read, or does not exist in this
// mode, is nil, and has no samples.
type Snapshot struct {
	Version, Commit string
	Mode            loader.Mode
	Groups          []Group
	Loop            Loop
	// Reasons why the node is not ready, when Looked.
	Looked  bool
	Reasons []string

	Kernel   *loader.Status
	Counting bool              // the kernel counts runs of programs
	Store    *store.Stats      // ads mode
	Workload *workload.Figures // workload mode
	// Services that were connected to, by ServiceRows, and policies that denied, by
	// PolicyRows: those that are named and the rest.
	Services *Rows
	Policies *Rows            // workload mode
	XDS      *xdsclient.State // with --xds-address
}

// Group is a part of the readings, and how it went.
type Group struct {
	Name string
	Took time.Duration
	Err  error
}

// Loop is what the loop of `run` has done.
type Loop struct {
	Turns, Repairs uint64
	Ended          time.Time // of the last turn; zero: none yet
	Failed         bool      // the last turn could not repair
	Configured     int       // resources of --config in force
	ConfigFailed   bool      // what --config names now is not in force
}
