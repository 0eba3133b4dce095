// SPDX-License-Identifier: Apache-2.0

// Package served is what the data plane counted for each service, in either mode.
package served

import (
	"slices"
	"strings"
	"time"
)

// Counters are of one service: a cluster of ads mode, a Service of workload mode. They
// begin when the service came, outlive publications and restarts, and are those of
// connections that this node's pods opened. One that an application gave up within a
// second is in none of them.
type Counters struct {
	Service string `json:"service"` // the control plane's name; workload mode: namespace/hostname

	Connects uint64        `json:"connects"` // that were opened
	Latency  time.Duration `json:"latency_ns"`
	Refused  uint64        `json:"refused"`
	Timeouts uint64        `json:"timeouts"`
	Errors   uint64        `json:"errors"` // any other result, unreachable for one

	// Of ads mode alone.
	Endpoints int    `json:"endpoints,omitempty"`
	Ejected   int    `json:"ejected,omitempty"`   // endpoints, for the time being
	Ejections uint64 `json:"ejections,omitempty"` // of its endpoints
}

// Failures are all connections that were not opened.
func (c *Counters) Failures() uint64 { return c.Refused + c.Timeouts + c.Errors }

// Sort orders by name.
func Sort(l []Counters) {
	slices.SortFunc(l, func(a, b Counters) int { return strings.Compare(a.Service, b.Service) })
}
