// SPDX-License-Identifier: Apache-2.0

package top

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/served"
)

var begin = time.Unix(1000, 0)

func after(d time.Duration, denied uint64, l ...served.Counters) *Sample {
	return &Sample{At: begin.Add(d), Services: l, Denied: denied}
}

func names(r *Report) string {
	var l []string
	for _, row := range r.Services {
		l = append(l, row.Service)
	}
	return strings.Join(l, " ")
}

func TestRatesAreOfTheTimeBetweenSamples(t *testing.T) {
	before := after(0, 5,
		served.Counters{Service: "a", Connects: 100, Latency: time.Second, Refused: 1, Timeouts: 2, Errors: 3},
		served.Counters{Service: "reset", Connects: 1000, Latency: time.Hour, Refused: 50})
	now := after(2*time.Second, 9,
		served.Counters{Service: "a", Connects: 110, Latency: time.Second + 50*time.Millisecond, Refused: 2, Timeouts: 4, Errors: 6, Endpoints: 3, Ejected: 1},
		served.Counters{Service: "reset", Connects: 4, Latency: 8 * time.Millisecond, Refused: 2},
		served.Counters{Service: "new", Connects: 6, Latency: 6 * time.Microsecond})
	r := Compare(before, now)
	for i, want := range []struct {
		rate, failures float64
		took           time.Duration
	}{{5, 3, 5 * time.Millisecond}, {2, 1, 2 * time.Millisecond}, {3, 0, time.Microsecond}} {
		got := r.Services[i]
		if got.Rate != want.rate || got.FailureRate != want.failures || got.Took != want.took {
			t.Errorf("%s: %v connects/s, %v failures/s, %v; want %+v", got.Service, got.Rate, got.FailureRate, got.Took, want)
		}
	}
	if r.Rate != 10 || r.Failures != 4 || r.Endpoints != 3 || r.Ejected != 1 || r.Denied != 9 || r.DeniedRate != 2 {
		t.Errorf("%+v", r)
	}
	if want := (50*time.Millisecond + 8*time.Millisecond + 6*time.Microsecond) / 20; r.Took != want {
		t.Errorf("latency %v, want %v", r.Took, want)
	}
	if r := Compare(now, now); r.Rate != 0 || r.Took != 0 || r.Failures != 0 {
		t.Errorf("between a sample and itself: %+v", r)
	}
}

// What was made anew meanwhile may be more than before.
func TestCountersOfOtherMapsAreNoRate(t *testing.T) {
	now := after(time.Second, 9, served.Counters{Service: "a", Connects: 7, Latency: time.Minute, Refused: 7, Endpoints: 2})
	now.Anew = true
	r := Compare(after(0, 5, served.Counters{Service: "a", Connects: 5, Latency: time.Second, Refused: 1}), now)
	if a := r.Services[0]; a.Connects != 7 || a.Rate != 0 || a.FailureRate != 0 || a.Took != 0 || r.Rate != 0 || r.DeniedRate != 0 || r.Endpoints != 2 {
		t.Errorf("%+v", r)
	}
}

func TestRowsAreSorted(t *testing.T) {
	r := &Report{Services: []Row{
		{Counters: served.Counters{Service: "b", Connects: 5}, Rate: 1, FailureRate: 9, Took: 3},
		{Counters: served.Counters{Service: "a", Connects: 5, Ejections: 1}, Rate: 1, Took: 7},
		{Counters: served.Counters{Service: "c", Connects: 9}, Rate: 1, FailureRate: 9.5},
		{Counters: served.Counters{Service: "d", Ejected: 1, Refused: 7}, Rate: 2},
	}}
	for by, want := range map[Order]string{ByConnects: "d c a b", ByLatency: "a b c d", ByFailures: "c b d a", ByEjected: "d a b c", ByName: "a b c d"} {
		if r.Sort(by); names(r) != want {
			t.Errorf("by %s: %s, want %s", by, names(r), want)
		}
	}
}

// busy is a report of 30 services.
func busy() *Report {
	r := &Report{Rate: 12345.6, Failures: 0.25, Took: 1500 * time.Microsecond, Endpoints: 60, Ejected: 1}
	for i := range 30 {
		r.Services = append(r.Services, Row{Counters: served.Counters{Service: fmt.Sprintf("outbound|80||service-%02d.of.a.rather.long.namespace.svc.cluster.local", i),
			Endpoints: 2, Ejected: i % 2, Refused: 123_456}, Rate: 99.96, FailureRate: float64(i % 3), Took: 345 * time.Microsecond})
	}
	return r
}

func TestTheScreenIsFilledAndNotMore(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {120, 40}, {40, 10}, {10, 3}, {1, 1}, {300, 100}} {
		for _, ejects := range []bool{false, true} {
			v := View{Title: "kmesh-node top", Width: size[0], Height: size[1], Order: ByFailures, Ejects: ejects, Denies: !ejects, Top: 1000}
			lines := v.Lines(busy())
			if want := max(size[1], otherLines+1); len(lines) != want && size[1] > otherLines {
				t.Errorf("%v: %d lines", size, len(lines))
			}
			for _, l := range lines {
				if len(l) > size[0] {
					t.Errorf("%v: %d bytes: %q", size, len(l), l)
				}
				if strings.Contains(l, "\x1b") {
					t.Errorf("%v: a colour in %q", size, l)
				}
			}
		}
	}
}

func TestWhat80ColumnsShow(t *testing.T) {
	v := View{Title: "kmesh-node top: mode ads", Width: 80, Height: 24, Order: ByFailures, Ejects: true, Top: 29}
	lines := v.Lines(busy())
	for i, want := range map[int]string{
		0:  "kmesh-node top: mode ads",
		1:  "services 30: 12346 connects/s, latency 1.50ms, 0.25 failures/s, ejected 1/60",
		2:  "SERVICE                                CONN/S   LATENCY FAIL/S*   FAILED EJECTED",
		3:  "outbound|80||service-10.of.a.rather~    100.0     345us    1.00     123k     0/2",
		22: "outbound|80||service-29.of.a.rather~    100.0     345us    2.00     123k     1/2",
		23: "q quit   sort: c connects  l latency  f failures  e ejected  n name   up/down",
	} {
		if lines[i] != want {
			t.Errorf("line %d\n%q, want\n%q", i, lines[i], want)
		}
	}
	v.Color, v.Top = true, 0
	for i, with := range map[int]string{2: bold, 4: red, 5: red, 3: "outbound"} {
		if l := v.Lines(busy())[i]; !strings.HasPrefix(l, with) || with[0] == '\x1b' && !strings.HasSuffix(l, plain) {
			t.Errorf("line %d: %q", i, l)
		}
	}
}

func TestNumbersAreShort(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 99_999: "99999", 100_000: "100k", 1_234_567: "1.2M", 99_960_000: "100M",
		999_600_000: "1.0G", 1<<64 - 1: "18.4E"} {
		if got := count(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 0.5: "0.50", 12.34: "12.3", 1234.5: "1234", 100_000: "100k", 5e6: "5.0M"} {
		if got := rate(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "-", 345 * time.Microsecond: "345us", 12 * time.Millisecond: "12.00ms", time.Minute: "60.0s"} {
		if got := took(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

func TestANameDoesNothingToTheTerminal(t *testing.T) {
	v := View{Width: 80, Height: 10}
	r := Compare(after(0, 0, served.Counters{Service: "a\x1b[2J\u009bc\n"}), after(time.Second, 0, served.Counters{Service: "a\x1b[2J\u009bc\n"}))
	if got := strings.Join(v.Lines(r), "\n"); !strings.Contains(got, "\na?[2J?c? ") {
		t.Errorf("%q", got)
	}
}

func TestKeys(t *testing.T) {
	for s, want := range map[string]press{"q": {key: keyQuit}, "f": {keySort, ByFailures}, "\x1b[Bq": {key: keyDown}, "\x1b[6~": {key: keyPageDown}} {
		if got, n := parseKey(s); n == 0 || got != want {
			t.Errorf("%q: %+v, %d", s, got, n)
		}
	}
	for _, s := range []string{"\x1b", "\x1b[", "x", "\x1b[C"} {
		if got, n := parseKey(s); n != 0 {
			t.Errorf("%q: %+v", s, got)
		}
	}
}
