// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"time"

	"github.com/kmesh-net/kmesh-node/internal/served"
)

// What Counts of a service's row are.
const (
	opened = iota
	latency
	refused
	timeouts
	failed
	ejections
)

// ServiceRows are those of the services that anybody connected to.
func ServiceRows(l []served.Counters) []Row {
	var rows []Row
	for i := range l {
		c := &l[i]
		r := Row{Name: c.Service, Weight: c.Connects + c.Failures(), Level: uint64(c.Ejected)}
		if r.Weight == 0 && c.Ejected == 0 {
			continue
		}
		r.Counts = [maxCounts]uint64{opened: c.Connects, latency: uint64(c.Latency), refused: c.Refused, timeouts: c.Timeouts,
			failed: c.Errors, ejections: c.Ejections}
		rows = append(rows, r)
	}
	return rows
}

func aboutServices() group {
	each := func(do func(*Row, put)) func(*Snapshot, put) {
		return func(s *Snapshot, put put) {
			if s.Services != nil {
				s.Services.each(func(r *Row) { do(r, put) })
			}
		}
	}
	ofAds := func(do func(*Snapshot, put)) func(*Snapshot, put) {
		return func(s *Snapshot, put put) {
			if s.Store != nil {
				do(s, put)
			}
		}
	}
	label := []string{"service"}
	return group{"Services", "Connections that this node's pods opened, by service: a cluster of ads mode, in workload mode namespace/hostname. " +
		"A service is here once it was connected to; of more than `--metrics-services` the rest is `" + other + "`. " +
		"Counters outlive the process; those of workload mode begin with the first scrape unless `--service-counters` is on.", []metric{
		{name: "connects_total", kind: counter, unit: "ops", labels: []string{"service", "result"},
			help: "Connections by result: ok, refused, timeout, error (any other). In workload mode counts begin with the first scrape, and go on as long as one comes each 5 minutes (--service-counters=auto).",
			read: each(func(r *Row, put put) {
				put(float64(r.Counts[opened]), r.Name, "ok")
				put(float64(r.Counts[refused]), r.Name, "refused")
				put(float64(r.Counts[timeouts]), r.Name, "timeout")
				put(float64(r.Counts[failed]), r.Name, "error")
			})},
		{name: "connect_latency_seconds", kind: summary, unit: "s", labels: label,
			help: "Time from connect to established, of the connections that were opened: sum and count.",
			observed: func(s *Snapshot, put func(uint64, float64, ...string)) {
				if s.Services != nil {
					s.Services.each(func(r *Row) { put(r.Counts[opened], time.Duration(r.Counts[latency]).Seconds(), r.Name) })
				}
			}},
		{name: "endpoint_ejections_total", kind: counter, unit: "short", labels: label,
			help: "Times an endpoint was taken out for failing in a row (outlier detection), of services of which one ever was. Ads mode.",
			read: ofAds(each(func(r *Row, put put) {
				if r.Counts[ejections] > 0 {
					put(float64(r.Counts[ejections]), r.Name)
				}
			}))},
		{name: "ejected_endpoints", kind: gauge, unit: "short", labels: label,
			help: "Endpoints that are out now, of services that ever had one. Ads mode.",
			read: ofAds(each(func(r *Row, put put) {
				if r.Counts[ejections] > 0 || r.Level > 0 {
					put(float64(r.Level), r.Name)
				}
			}))},
		{name: "services_summed", kind: gauge, unit: "short",
			help: "Services that are in `" + other + "`, because there are more than --metrics-services.",
			read: func(s *Snapshot, put put) {
				if s.Services != nil {
					put(float64(s.Services.Summed))
				}
			}},
	}}
}
