// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/kmesh-net/kmesh-node/internal/served"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/loader"
)

// full has a value for every metric.
func full(mode loader.Mode) *Snapshot {
	now := time.Unix(1700000000, 0)
	s := &Snapshot{Version: "v1", Commit: "abc", Mode: mode, Looked: true, Reasons: []string{"link a: gone"}, Counting: true,
		Groups: []Group{{"ready", time.Millisecond, nil}, {"maps", time.Second, errors.New("busy")}},
		Loop:   Loop{Turns: 3, Repairs: 2, Ended: now, Configured: 4},
		Kernel: &loader.Status{Mode: mode, Enrolled: 2,
			Programs: []loader.ProgramStatus{{Name: "sockconn4", RunCount: 10, RunTime: 2_500_000_000}},
			Links:    []loader.LinkStatus{{Alive: true}, {Alive: true}, {}},
			Maps:     []loader.MapStatus{{Name: "km_netns", Entries: 4096, Memory: 1024}}},
		XDS: &xdsclient.State{Connected: true, Synced: true, Since: now, Streams: 2, Failures: 1,
			Types: []xdsclient.TypeState{{TypeURL: xdsclient.AddressType, Resources: 5, Responses: 7, NACKs: 1, LastUpdate: now}}},
	}
	rows := (&Ranking{Limit: 1}).Split(ServiceRows([]served.Counters{
		{Service: "b", Connects: 5, Latency: time.Second, Refused: 1, Timeouts: 2, Errors: 3, Ejections: 4, Ejected: 1},
		{Service: "c", Connects: 1}, {Service: "never"}}))
	s.Services = &rows
	if mode == loader.Ads {
		s.Store = &store.Stats{Generation: 9, Listeners: store.Use{Used: 1, Limit: 2}}
		s.Kernel.Rare.Restarts = 3
		return s
	}
	s.Kernel.Workload = &loader.WorkloadStatus{Rare: loader.WorkloadRare{Unparsed: 2, LostEvents: 6}}
	s.Workload = &workload.Figures{Usage: workload.Usage{Generation: 8, Services: 3, Maps: []workload.Use{{Map: "km_peer", Entries: 1, Capacity: 2}}},
		Denied: map[string]uint64{"ns/p": 4}, NoPolicy: 2}
	denied := (&Ranking{Limit: 10}).Split(PolicyRows(s.Workload))
	s.Policies = &denied
	return s
}

// gathered are the families of s by name, those of the client library apart.
func gathered(t *testing.T, s *Snapshot) map[string]*dto.MetricFamily {
	t.Helper()
	l, err := registry(func() *Snapshot { return s }).Gather()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]*dto.MetricFamily{}
	for _, f := range l {
		if name, ok := strings.CutPrefix(f.GetName(), prefix); ok {
			m[name] = f
		} else if !strings.HasPrefix(f.GetName(), "process_") {
			t.Errorf("%s has another prefix", f.GetName())
		}
	}
	return m
}

// What is exposed and what the table has are the same, in name, type and labels.
func TestTheTableIsWhatIsExposed(t *testing.T) {
	ads, ambient := gathered(t, full(loader.Ads)), gathered(t, full(loader.Workload))
	types := map[kind]dto.MetricType{counter: dto.MetricType_COUNTER, gauge: dto.MetricType_GAUGE, summary: dto.MetricType_SUMMARY}
	for _, m := range all() {
		f := ads[m.name]
		if f == nil {
			f = ambient[m.name]
		}
		if f == nil {
			t.Errorf("%s is in the table and in no snapshot", m.name)
			continue
		}
		delete(ads, m.name)
		delete(ambient, m.name)
		if f.GetType() != types[m.kind] || f.GetHelp() != m.help {
			t.Errorf("%s: %v, help %q", m.name, f.GetType(), f.GetHelp())
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if want := slices.Sorted(slices.Values(m.labels)); !slices.Equal(labels, want) {
			t.Errorf("%s: labels %v, want %v", m.name, labels, want)
		}
	}
	for name := range ads {
		t.Errorf("%s is not in the table", name)
	}
	for name := range ambient {
		t.Errorf("%s is not in the table", name)
	}
}

func TestTheMetricsFollowTheRulesOfPrometheus(t *testing.T) {
	for _, mode := range []loader.Mode{loader.Ads, loader.Workload} {
		r := prometheus.NewRegistry()
		r.MustRegister(newCollector(func() *Snapshot { return full(mode) }))
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		problems, err := promlint.NewWithMetricFamilies(families).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// A snapshot of which nothing could be read has what does not have to be read.
func TestWhatCouldNotBeReadIsAbsent(t *testing.T) {
	m := gathered(t, &Snapshot{Mode: loader.Ads, Groups: []Group{{Name: "maps", Err: errors.New("busy")}}})
	for _, name := range []string{"build_info", "turns_total", "scrape_success"} {
		if m[name] == nil {
			t.Errorf("%s is missing", name)
		}
		delete(m, name)
	}
	for _, name := range []string{"ready", "program_runs_total", "connects_total", "enrolled_pods", "publications_total", "xds_connected", "last_turn_timestamp_seconds"} {
		if m[name] != nil {
			t.Errorf("%s says %v", name, m[name])
		}
	}
}

// value is the sample of a metric with these labels, name and value in turn.
func value(t *testing.T, f *dto.MetricFamily, labels ...string) float64 {
	t.Helper()
	for _, m := range f.GetMetric() {
		have := map[string]string{}
		for _, l := range m.GetLabel() {
			have[l.GetName()] = l.GetValue()
		}
		fits := true
		for i := 0; i < len(labels); i += 2 {
			fits = fits && have[labels[i]] == labels[i+1]
		}
		if fits {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetSummary().GetSampleSum()
		}
	}
	t.Errorf("%s%v is missing", f.GetName(), labels)
	return 0
}

func TestSamplesSayWhatWasRead(t *testing.T) {
	ads, ambient := gathered(t, full(loader.Ads)), gathered(t, full(loader.Workload))
	for _, c := range []struct {
		in     map[string]*dto.MetricFamily
		name   string
		labels []string
		want   float64
	}{
		{ads, "ready", nil, 0},
		{ads, "unready_reasons", nil, 1},
		{ads, "publications_total", nil, 9},
		{ambient, "publications_total", nil, 8},
		{ads, "connects_total", []string{"service", "b", "result", "ok"}, 5},
		{ads, "connects_total", []string{"service", "b", "result", "refused"}, 1},
		{ads, "connects_total", []string{"service", "b", "result", "timeout"}, 2},
		{ads, "connects_total", []string{"service", "b", "result", "error"}, 3},
		{ads, "connects_total", []string{"service", other, "result", "ok"}, 1},
		{ads, "connect_latency_seconds", []string{"service", "b"}, 1},
		{ads, "endpoint_ejections_total", []string{"service", "b"}, 4},
		{ads, "ejected_endpoints", []string{"service", "b"}, 1},
		{ads, "services_summed", nil, 1},
		{ads, "program_run_seconds_total", []string{"program", "sockconn4"}, 2.5},
		{ads, "links", []string{"state", "attached"}, 2},
		{ads, "links", []string{"state", "gone"}, 1},
		{ads, "rare_events_total", []string{"event", "restart"}, 3},
		{ambient, "rare_events_total", []string{"event", "unparsed"}, 2},
		{ambient, "events_lost_total", nil, 6},
		{ambient, "denied_total", []string{"policy", "ns/p"}, 4},
		{ambient, "denied_total", []string{"policy", noPolicy}, 2},
		{ambient, "map_entries", []string{"map", "km_peer"}, 1},
		{ads, "xds_nacks_total", []string{"type", xdsclient.AddressType}, 1},
		{ads, "xds_last_update_timestamp_seconds", nil, 1700000000},
		{ads, "scrape_success", []string{"group", "maps"}, 0},
		{ads, "scrape_success", []string{"group", "ready"}, 1},
	} {
		if got := value(t, c.in[c.name], c.labels...); got != c.want {
			t.Errorf("%s%v %v, want %v", c.name, c.labels, got, c.want)
		}
	}
}

// A name that is not UTF-8 spoils no scrape.
func TestAnyNameCanBeTold(t *testing.T) {
	s := full(loader.Ads)
	rows := (&Ranking{Limit: 5}).Split(ServiceRows([]served.Counters{{Service: "x\xff\"\n", Connects: 1}}))
	s.Services = &rows
	if v := value(t, gathered(t, s)["connects_total"], "service", "x\uFFFD\"\n", "result", "ok"); v != 1 {
		t.Errorf("%v", v)
	}
}
