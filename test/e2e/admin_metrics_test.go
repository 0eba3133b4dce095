// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"
)

// Every connection of a pod is in the metrics, by service and result.
func TestMetricsCountConnectsByServiceAndResult(t *testing.T) {
	n, p, c := site(t, "--outlier-failures", "3", "--outlier-backoff", "1h", "--outlier-backoff-max", "1h")
	p.addresses(bad1)
	_, a := n.in(t).serveAdmin("--outlier-failures", "3", "--outlier-backoff", "1h", "--outlier-backoff-max", "1h")
	a.wantSamples(map[string]float64{"services_summed": 0, "enrolled_pods": 1, `map_entries{map="km_netns"}`: 1}, `connects_total{result="ok",service="a"}`)
	n.apply(cds(static("a", epA1), static("b", bad1)), lds(listener(service, toCluster("a")), listener(service6, toCluster("b"))))
	wantSpread(t, c, service, counts{epA1: 40})
	a.wantSamples(map[string]float64{
		`connects_total{result="ok",service="a"}`: 40, `connects_total{result="refused",service="a"}`: 0,
		`connect_latency_seconds_count{service="a"}`: 40,
		`resources{kind="cluster"}`:                  2, `resources{kind="listener"}`: 2, "publications_total": 1,
		`store_used{what="clusters"}`: 2, `scrape_success{group="maps"}`: 1, `scrape_success{group="ready"}`: 1,
	}, `connects_total{result="ok",service="b"}`, `ejected_endpoints{service="a"}`)
	if got := a.scrape(); got[`connect_latency_seconds_sum{service="a"}`] <= 0 || got[`map_memory_bytes{map="km_outer"}`] <= 0 {
		t.Errorf("latency %v, memory %v", got[`connect_latency_seconds_sum{service="a"}`], got[`map_memory_bytes{map="km_outer"}`])
	}
}

func TestMetricsTellOfEjections(t *testing.T) {
	flags := []string{"--outlier-failures", "3", "--outlier-backoff", "1h", "--outlier-backoff-max", "1h"}
	n, p, c := site(t, flags...)
	p.addresses(bad1)
	_, a := n.in(t).serveAdmin(flags...)
	n.apply(cds(static("a", epA1, bad1)), lds(listener(service, toCluster("a"))))
	wantSpread(t, c, service, counts{epA1: 17, refusal: 3})
	a.wantSamples(map[string]float64{
		`connects_total{result="ok",service="a"}`: 17, `connects_total{result="refused",service="a"}`: 3,
		`endpoint_ejections_total{service="a"}`: 1, `ejected_endpoints{service="a"}`: 1})
}

// However many services there are, the labels are as many as was asked for.
func TestMetricsNameNoMoreServicesThanAskedFor(t *testing.T) {
	n, _, c := site(t)
	_, a := n.in(t).serveAdmin("--metrics-services=1")
	n.apply(cds(static("a", epA1), static("b", six1)), lds(listener(service, toCluster("a")), listener(service6, toCluster("b"))))
	wantSpread(t, c, service, counts{epA1: 5})
	a.wantSamples(map[string]float64{`connects_total{result="ok",service="a"}`: 5, "services_summed": 0}, `connects_total{result="ok",service="(other)"}`)
	wantSpread(t, c, service6, counts{six1: 50})
	a.wantSamples(map[string]float64{`connects_total{result="ok",service="a"}`: 5, `connects_total{result="ok",service="(other)"}`: 50,
		"services_summed": 1}, `connects_total{result="ok",service="b"}`)
	// What went is not taken from the sum.
	n.want(exitDone, "delete", "cluster", "b")
	a.wantSamples(map[string]float64{`connects_total{result="ok",service="(other)"}`: 50, "services_summed": 0})
}

func TestWorkloadMetricsCountConnectsAndDenials(t *testing.T) {
	c := newCourt(t)
	_, a := c.serveAdmin()
	a.wantSamples(map[string]float64{`denied_total{policy="none"}`: 0, `resources{kind="workload"}`: 4, "enrolled_pods": 2,
		`map_entries{map="km_netns"}`: 2}, "store_used", `ejected_endpoints{service="x"}`)
	c.apply(policies(policy("p", "WORKLOAD_SELECTOR", "DENY", onlyWhen("namespaces", exact("prod-b"))), policy("q", "WORKLOAD_SELECTOR", "ALLOW",
		onlyWhen("destinationPorts", []int{8080}))))
	c.wantDenied(t, map[string]string{fromB: "ns/p", fromB6: "ns/p", fromA9: ""})
	a.wantSamples(map[string]float64{`denied_total{policy="ns/p"}`: 2, `denied_total{policy="ns/q"}`: 0, `denied_total{policy="none"}`: 1,
		`resources{kind="policy"}`: 2})
}

func TestWorkloadMetricsCountConnectsByService(t *testing.T) {
	m, c := lane(t)
	_, a := m.serveAdmin()
	m.apply(wds(wsvc("a", vips("10.96.0.1"), wport(80, 8080)), wsvc("b", vips("10.96.0.2"), wport(80, 7070)),
		wpod("p1", ip1, serves("a"), serves("b"))))
	wantSpread(t, c, vipA, counts{at(ip1, 8080): 3}) // nobody has asked yet
	a.wantSamples(map[string]float64{"services_summed": 0}, `connects_total{result="ok",service="`+keyOf("a")+`"}`)
	wantSpread(t, c, vipA, counts{at(ip1, 8080): 30})
	wantSpread(t, c, vipB, counts{refusal: 7})
	a.wantSamples(map[string]float64{
		`connects_total{result="ok",service="` + keyOf("a") + `"}`: 30, `connects_total{result="refused",service="` + keyOf("b") + `"}`: 7,
		`connects_total{result="ok",service="` + keyOf("b") + `"}`: 0, `connect_latency_seconds_count{service="` + keyOf("a") + `"}`: 30})
}
