// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"

	"github.com/kmesh-net/kmesh-node/internal/events"
	"github.com/kmesh-net/kmesh-node/internal/ratelimit"
	"github.com/kmesh-net/kmesh-node/internal/workload"
)

type fakeNames struct{}

func (fakeNames) resource(id uint32) (kind, name string, err error) {
	switch id {
	case 1:
		return workload.Service.String(), "ns/a", nil
	case 2:
		return workload.Workload.String(), "uid-2", nil
	case 3:
		return workload.Policy.String(), "ns/closed", nil
	}
	return "", "", errors.New("asked for what is not there")
}

// say prints an event in a form.
func say(t *testing.T, form string, e events.Event) string {
	t.Helper()
	var out, errout bytes.Buffer
	p := &eventPrinter{out: &out, errout: &errout, form: form, names: fakeNames{}}
	if err := p.event(e); err != nil {
		t.Fatal(err)
	}
	if errout.Len() > 0 {
		t.Error(errout.String())
	}
	return out.String()
}

var (
	pod      = netip.MustParseAddrPort("10.0.0.1:4000")
	endpoint = netip.MustParseAddrPort("10.0.0.2:8080")
	vip      = netip.MustParseAddrPort("10.96.0.1:80")
	unknown  = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
)

func TestEventsForPeople(t *testing.T) {
	for _, c := range []struct {
		e    events.Event
		want string
	}{
		{events.Event{Type: events.Opened, Source: pod, Destination: endpoint, Original: vip, Resource: 1, Duration: 1500 * time.Microsecond},
			"opened    10.0.0.1:4000 -> 10.0.0.2:8080, asked 10.96.0.1:80, service ns/a, 1.5ms"},
		{events.Event{Type: events.Opened, Source: pod, Destination: vip, Original: vip, Resource: 2, Waypoint: true},
			"opened    10.0.0.1:4000 -> 10.96.0.1:80, workload uid-2, by its waypoint, 0s"},
		{events.Event{Type: events.Closed, Source: pod, Destination: endpoint, Original: endpoint, Received: 14, Duration: time.Second, RTT: 25 * time.Microsecond},
			"closed    10.0.0.1:4000 -> 10.0.0.2:8080, sent 0, received 14 bytes, 1s, rtt 25µs"},
		{events.Event{Type: events.Refused, Source: unknown, Destination: endpoint, Original: unknown},
			"refused   - -> 10.0.0.2:8080, 0s"},
		{events.Event{Type: events.TimedOut, Source: pod, Destination: endpoint, Original: endpoint, Duration: 2 * time.Minute},
			"timed_out 10.0.0.1:4000 -> 10.0.0.2:8080, 2m0s"},
		{events.Event{Type: events.Failed, Source: pod, Destination: endpoint, Original: endpoint, Errno: unix.ENETUNREACH},
			"failed    10.0.0.1:4000 -> 10.0.0.2:8080, network is unreachable, 0s"},
		{events.Event{Type: events.Failed, Source: pod, Destination: endpoint, Original: endpoint},
			"failed    10.0.0.1:4000 -> 10.0.0.2:8080, given up, 0s"},
		{events.Event{Type: events.Denied, Source: pod, Destination: endpoint, Original: unknown, Policy: 3},
			"denied    10.0.0.1:4000 -> 10.0.0.2:8080, policy ns/closed"},
		{events.Event{Type: events.Denied, Source: pod, Destination: endpoint, Original: unknown},
			"denied    10.0.0.1:4000 -> 10.0.0.2:8080, no ALLOW policy matched"},
	} {
		got := say(t, "table", c.e)
		if _, rest, _ := strings.Cut(got, " "); rest != c.want+"\n" {
			t.Errorf("%q, want %q", rest, c.want)
		}
	}
}

func TestEventsForPrograms(t *testing.T) {
	now, err := wallClock(0)
	if err != nil {
		t.Fatal(err)
	}
	boot := time.Since(now) // that long ago the clock of events began
	e := events.Event{Type: events.Closed, Time: boot, Netns: 9, Source: pod, Destination: endpoint, Original: vip, Resource: 1, RTT: 3, Duration: 4}
	got := say(t, "json", e)
	var l eventLine
	if err := json.Unmarshal([]byte(got), &l); err != nil || strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "}\n") {
		t.Fatalf("%q, %v", got, err)
	}
	if off := l.Time.Sub(now.Add(boot)).Abs(); off > time.Second { // the clocks are read once more
		t.Errorf("the time of an event is %v off", off)
	}
	for _, member := range []string{`"type":"closed"`, `"netns":9`, `"source":"10.0.0.1:4000"`, `"destination":"10.0.0.2:8080"`,
		`"original":"10.96.0.1:80"`, `"service":"ns/a"`, `"sent":0`, `"received":0`, `"duration_ns":4`, `"rtt_ns":3`} {
		if !strings.Contains(got, member) {
			t.Errorf("%s lacks %s", got, member)
		}
	}
	for _, absent := range []string{"workload", "policy", "reason", "waypoint", "lost"} {
		if strings.Contains(got, absent) {
			t.Errorf("%s has %s", got, absent)
		}
	}
	got = say(t, "yaml", e)
	if err := yaml.Unmarshal([]byte(got), &l); err != nil || !strings.HasPrefix(got, "---\n") || l.Service != "ns/a" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNamesAreAskedForOnceASecond(t *testing.T) {
	n := &eventNames{open: func() (*workload.Store, error) { return nil, errors.New("opened") },
		known: map[uint32]eventName{1: {"service", "ns/a"}}, until: time.Now().Add(time.Minute)}
	if kind, name, err := n.resource(1); kind != "service" || name != "ns/a" || err != nil {
		t.Errorf("%q %q, %v", kind, name, err)
	}
	if _, _, err := n.resource(2); err == nil {
		t.Error("an unknown number was not asked for")
	}
	n.until = time.Now().Add(-time.Second)
	if _, _, err := n.resource(1); err == nil {
		t.Error("an old name was not asked for again")
	}
	if err := n.close(); err != nil {
		t.Error(err)
	}
}

func TestLostEventsAreTold(t *testing.T) {
	for form, want := range map[string]string{"table": "lost: 5 events", "json": `"lost":5`} {
		var out, errout bytes.Buffer
		p := &eventPrinter{out: &out, errout: &errout, form: form}
		if err := p.lost(5); err != nil || !strings.Contains(out.String()+errout.String(), want) || (form == "table") != (out.Len() == 0) {
			t.Errorf("%s: %q, %q, %v", form, out.String(), errout.String(), err)
		}
	}
}

func TestEventsOverTheRateAreLeftOutAndTold(t *testing.T) {
	for form, want := range map[string]string{"table": "dropped: 3 events: more than --rate 2 a second\n", "json": `"type":"dropped","dropped":3`} {
		var out, errout bytes.Buffer
		p := &eventPrinter{out: &out, errout: &errout, form: form, limit: ratelimit.Limiter{PerSecond: 2}}
		for range 5 {
			if err := p.event(events.Event{Type: events.Opened, Source: pod, Destination: endpoint}); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(out.String(), "opened"); n != 2 {
			t.Errorf("%s: %d events were printed", form, n)
		}
		for range 2 { // told once
			if err := p.dropped(); err != nil {
				t.Fatal(err)
			}
		}
		told := errout.String()
		if form == "json" {
			told = out.String()
		}
		if strings.Count(told, want) != 1 {
			t.Errorf("%s: %q", form, told)
		}
	}
}

// The page names every member and every type, and no other.
func TestThePageOfEventsIsWhole(t *testing.T) {
	page, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"type", "member", "lost", "dropped"}
	for typ := events.Opened; typ <= events.Failed; typ++ {
		want = append(want, strings.ReplaceAll(typ.String(), " ", "_"))
	}
	for f := range reflect.TypeFor[eventLine]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[eventLine]().Field(f).Tag.Get("json"), ",")
		want = append(want, name)
	}
	var got []string
	for _, line := range strings.Split(string(page), "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 2 && !strings.HasPrefix(line, "|--") {
			got = append(got, strings.Trim(cells[1], " `"))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("the page has\n%q, want\n%q", got, want)
	}
}

// nobodyReads returns the end of a pipe that takes nothing any more, and its other end.
func nobodyReads(t *testing.T) (w, r *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), w.Close()); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	return w, r
}

func TestEventsThatNobodyTakesDoNotKeepTheCommandFromItsEnd(t *testing.T) {
	w, r := nobodyReads(t)
	ctx, stop := context.WithCancel(context.Background())
	p := &eventPrinter{out: newEventOut(ctx, w), form: "json", names: fakeNames{}}
	printed := make(chan error, 1)
	go func() { printed <- p.event(events.Event{Type: events.Opened}) }()
	select {
	case err := <-printed:
		t.Fatalf("it was printed: %v", err)
	case <-time.After(3 * endSeen):
	}
	stop()
	select {
	case err := <-printed:
		if !errors.Is(err, errNotTaken) {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the command does not end")
	}
	// Who reads, but late, gets what there is.
	if _, err := io.CopyN(io.Discard, r, 1<<12); err != nil {
		t.Fatal(err)
	}
	if err := p.event(events.Event{Type: events.Opened}); err != nil {
		t.Error(err)
	}
}

func TestEventsEndWithTheirReader(t *testing.T) {
	w, r := nobodyReads(t)
	out := newEventOut(t.Context(), w)
	if err := out.orphaned(); err != nil {
		t.Errorf("there is a reader: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.orphaned(); !errors.Is(err, unix.EPIPE) {
		t.Errorf("there is no reader: %v", err)
	}
}
