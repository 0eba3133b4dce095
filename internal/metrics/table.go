// SPDX-License-Identifier: Apache-2.0

package metrics

import "slices"

type kind string

const (
	counter kind = "counter"
	gauge   kind = "gauge"
	summary kind = "summary" // sum and count, no quantiles
)

// put takes one sample.
type put func(value float64, labels ...string)

// metric is one row of the table.
type metric struct {
	name   string // after the prefix
	kind   kind
	unit   string // of Grafana, for the axis
	labels []string
	help   string
	// read gives the samples of a snapshot.
	read func(*Snapshot, put)
	// observed is read of a summary.
	observed func(s *Snapshot, put func(count uint64, sum float64, labels ...string))
}

// group is what stands together on the page and on the dashboard.
type group struct {
	title   string
	about   string
	metrics []metric
}

// prefix begins the name of every metric.
const prefix = "kmesh_node_"

// groups is the table of all metrics.
func groups() []group {
	return []group{aboutRun(), aboutConfiguration(), aboutControlPlane(), aboutServices(), aboutPolicies(), aboutKernel(), aboutStore(), aboutRare()}
}

func all() []metric {
	var l []metric
	for _, g := range groups() {
		l = slices.Concat(l, g.metrics)
	}
	return l
}

// one is a metric that always has one sample.
func one(value func(*Snapshot) float64) func(*Snapshot, put) {
	return func(s *Snapshot, put put) { put(value(s)) }
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
