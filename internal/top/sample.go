// SPDX-License-Identifier: Apache-2.0

// Package top shows what services get, live: rates, latency, failures and ejections, from
// the counters that the data plane keeps.
package top

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/served"
)

// Sample is what had been counted at one moment.
type Sample struct {
	At       time.Time
	Services []served.Counters
	Denied   uint64 // connections to this node's pods; workload mode
	// Anew says that the counters are not those of the sample before: another `up` made them.
	Anew bool
}

// Row is a service between two samples. Rates are per second, of the time between them.
type Row struct {
	served.Counters // since they began

	Rate        float64       `json:"connects_per_second"`
	FailureRate float64       `json:"failures_per_second"`
	Took        time.Duration `json:"connect_latency_ns"` // mean of those between the samples; 0: there were none
}

// Report is what happened between two samples.
type Report struct {
	Interval   time.Duration `json:"interval_ns"`
	Services   []Row         `json:"services"`
	Rate       float64       `json:"connects_per_second"`
	Failures   float64       `json:"failures_per_second"`
	Took       time.Duration `json:"connect_latency_ns"`
	Endpoints  int           `json:"endpoints"`
	Ejected    int           `json:"ejected"`
	Denied     uint64        `json:"denied"`
	DeniedRate float64       `json:"denied_per_second"`
}

// since is what a counter rose by; one that is lower than before began anew.
func since(before, now uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// Compare makes a report of two samples. A service that the first one lacks began at 0.
// Between counters that were made anew and others is nothing.
func Compare(before, now *Sample) *Report {
	if now.Anew {
		before = now
	}
	r := &Report{Interval: now.At.Sub(before.At), Services: []Row{}, Denied: now.Denied}
	old := make(map[string]*served.Counters, len(before.Services))
	for i := range before.Services {
		old[before.Services[i].Service] = &before.Services[i]
	}
	seconds := max(r.Interval.Seconds(), 1e-9)
	var connects, latency uint64
	for _, c := range now.Services {
		was := old[c.Service]
		if was == nil {
			was = &served.Counters{}
		}
		opened := since(was.Connects, c.Connects)
		took := since(uint64(was.Latency), uint64(c.Latency))
		failed := since(was.Refused, c.Refused) + since(was.Timeouts, c.Timeouts) + since(was.Errors, c.Errors)
		row := Row{Counters: c, Rate: float64(opened) / seconds, FailureRate: float64(failed) / seconds, Took: mean(took, opened)}
		r.Services = append(r.Services, row)
		r.Rate += row.Rate
		r.Failures += row.FailureRate
		r.Endpoints += c.Endpoints
		r.Ejected += c.Ejected
		connects += opened
		latency += took
	}
	r.Took = mean(latency, connects)
	r.DeniedRate = float64(since(before.Denied, now.Denied)) / seconds
	return r
}

func mean(sum, n uint64) time.Duration {
	if n == 0 {
		return 0
	}
	return time.Duration(sum / n)
}

// Order is by what rows are sorted.
type Order string

// The orders: most first, names from a on.
const (
	ByConnects Order = "connects"
	ByLatency  Order = "latency"
	ByFailures Order = "failures"
	ByEjected  Order = "ejected"
	ByName     Order = "name"
)

// Orders are all orders.
func Orders() []string {
	return []string{string(ByConnects), string(ByLatency), string(ByFailures), string(ByEjected), string(ByName)}
}

// Sort orders the rows. Where rates are equal the totals decide, then the names.
func (r *Report) Sort(by Order) {
	compare := func(a, b *Row) int {
		switch by {
		case ByConnects:
			return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(b.Connects, a.Connects))
		case ByLatency:
			return cmp.Compare(b.Took, a.Took)
		case ByFailures:
			return cmp.Or(cmp.Compare(b.FailureRate, a.FailureRate), cmp.Compare(b.Failures(), a.Failures()))
		case ByEjected:
			return cmp.Or(cmp.Compare(b.Ejected, a.Ejected), cmp.Compare(b.Ejections, a.Ejections))
		case ByName:
		}
		return 0
	}
	slices.SortFunc(r.Services, func(a, b Row) int {
		return cmp.Or(compare(&a, &b), strings.Compare(a.Service, b.Service))
	})
}
