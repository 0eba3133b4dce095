// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler answers scrapes with what read finds.
func Handler(read func() *Snapshot) http.Handler {
	return promhttp.HandlerFor(registry(read), promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

func registry(read func() *Snapshot) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(read), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// collector makes samples of the table's rows. It keeps nothing between two scrapes.
type collector struct {
	read  func() *Snapshot
	rows  []metric
	descs []*prometheus.Desc
}

func newCollector(read func() *Snapshot) *collector {
	c := &collector{read: read, rows: all()}
	for _, m := range c.rows {
		c.descs = append(c.descs, prometheus.NewDesc(prefix+m.name, m.help, m.labels, nil))
	}
	return c
}

func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.read()
	for i, m := range c.rows {
		d := c.descs[i]
		switch m.kind {
		case summary:
			m.observed(s, func(count uint64, sum float64, labels ...string) {
				out <- prometheus.MustNewConstSummary(d, count, sum, nil, valid(labels)...)
			})
		default:
			as := prometheus.GaugeValue
			if m.kind == counter {
				as = prometheus.CounterValue
			}
			m.read(s, func(v float64, labels ...string) { out <- prometheus.MustNewConstMetric(d, as, v, valid(labels)...) })
		}
	}
}

// valid makes labels UTF-8, in place: a name in the maps may be any bytes.
func valid(labels []string) []string {
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
	}
	return labels
}
