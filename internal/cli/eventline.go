// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/events"
	"github.com/kmesh-net/kmesh-node/internal/printable"
	"github.com/kmesh-net/kmesh-node/internal/ratelimit"
	"github.com/kmesh-net/kmesh-node/internal/workload"
)

// eventLine is an event as it is printed.
type eventLine struct {
	Time        time.Time `json:"time"`
	Type        string    `json:"type"`
	Netns       uint64    `json:"netns,omitempty"` // cookie
	Source      string    `json:"source,omitempty"`
	Destination string    `json:"destination,omitempty"` // the endpoint
	Original    string    `json:"original,omitempty"`    // as the application asked
	Service     string    `json:"service,omitempty"`
	Workload    string    `json:"workload,omitempty"`
	Waypoint    bool      `json:"waypoint,omitempty"` // the endpoint is a waypoint's
	Policy      string    `json:"policy,omitempty"`
	Reason      string    `json:"reason,omitempty"` // of what was denied by no policy, or failed
	Sent        *uint64   `json:"sent,omitempty"`   // bytes
	Received    *uint64   `json:"received,omitempty"`
	// Of the connect where it was opened, else since then.
	Duration *time.Duration `json:"duration_ns,omitempty"`
	RTT      *time.Duration `json:"rtt_ns,omitempty"`
	Lost     uint64         `json:"lost,omitempty"`    // of type lost: how many
	Dropped  uint64         `json:"dropped,omitempty"` // of type dropped: how many
}

// eventPrinter prints events as they come, one a line.
type eventPrinter struct {
	out, errout io.Writer
	form        string // table, json or yaml
	names       interface {
		resource(id uint32) (kind, name string, err error)
	}
	limit ratelimit.Limiter
}

func (p *eventPrinter) event(e events.Event) error {
	if !p.limit.Allow(time.Now()) {
		return nil
	}
	l, err := p.line(e)
	if err != nil {
		return err
	}
	return p.print(l)
}

// lost tells that events are missing here.
func (p *eventPrinter) lost(n uint64) error {
	if p.form == "table" {
		_, err := fmt.Fprintf(p.errout, "lost: %d events: more came than could be read\n", n)
		return err
	}
	return p.print(&eventLine{Time: time.Now().UTC(), Type: "lost", Lost: n})
}

// dropped tells, once for each second, how many events --rate left out.
func (p *eventPrinter) dropped() error {
	n := p.limit.Dropped()
	if n == 0 {
		return nil
	}
	if p.form == "table" {
		_, err := fmt.Fprintf(p.errout, "dropped: %d events: more than --rate %d a second\n", n, p.limit.PerSecond)
		return err
	}
	return p.print(&eventLine{Time: time.Now().UTC(), Type: "dropped", Dropped: n})
}

func (p *eventPrinter) print(l *eventLine) (err error) {
	var b []byte
	switch p.form {
	case "json":
		if b, err = json.Marshal(l); err == nil {
			b = append(b, '\n')
		}
	case "yaml":
		if b, err = yaml.Marshal(l); err == nil {
			b = append([]byte("---\n"), b...)
		}
	default:
		b = []byte(l.text())
	}
	if err == nil {
		_, err = p.out.Write(b)
	}
	if err != nil {
		return fmt.Errorf("print event: %w", err)
	}
	return nil
}

func (p *eventPrinter) line(e events.Event) (*eventLine, error) {
	when, err := wallClock(e.Time)
	if err != nil {
		return nil, err
	}
	l := &eventLine{Time: when, Type: strings.ReplaceAll(e.Type.String(), " ", "_"), Netns: e.Netns, Waypoint: e.Waypoint,
		Source: peer(e.Source), Destination: peer(e.Destination), Original: peer(e.Original)}
	if e.Resource != 0 {
		kind, name, err := p.names.resource(e.Resource)
		if err != nil {
			return nil, err
		}
		if kind == workload.Workload.String() {
			l.Workload = name
		} else {
			l.Service = name
		}
	}
	switch e.Type {
	case events.Denied:
		if e.Policy == 0 {
			l.Reason = "no ALLOW policy matched"
			return l, nil
		}
		_, l.Policy, err = p.names.resource(e.Policy)
		return l, err
	case events.Failed:
		if l.Reason = "given up"; e.Errno != 0 {
			l.Reason = e.Errno.Error()
		}
	case events.Closed:
		l.Sent, l.Received, l.RTT = &e.Sent, &e.Received, &e.RTT
	}
	l.Duration = &e.Duration
	return l, nil
}

// peer is an address for people; one that was not known is none.
func peer(a netip.AddrPort) string {
	if a.Addr().IsUnspecified() && a.Port() == 0 {
		return ""
	}
	return a.String()
}

// text is the event for people.
func (l *eventLine) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-9s %s -> %s", l.Time.Local().Format("15:04:05.000000"), l.Type, orDash(l.Source), orDash(l.Destination))
	if l.Original != "" && l.Original != l.Destination {
		fmt.Fprintf(&b, ", asked %s", l.Original)
	}
	for _, w := range []struct{ what, is string }{{"service", l.Service}, {"workload", l.Workload}, {"policy", l.Policy}} {
		if w.is != "" {
			fmt.Fprintf(&b, ", %s %s", w.what, printable.Line(w.is))
		}
	}
	if l.Waypoint {
		b.WriteString(", by its waypoint")
	}
	if l.Reason != "" {
		fmt.Fprintf(&b, ", %s", l.Reason)
	}
	if l.Sent != nil {
		fmt.Fprintf(&b, ", sent %d, received %d bytes", *l.Sent, *l.Received)
	}
	if l.Duration != nil {
		fmt.Fprintf(&b, ", %v", l.Duration.Round(time.Microsecond))
	}
	if l.RTT != nil {
		fmt.Fprintf(&b, ", rtt %v", *l.RTT)
	}
	return b.String() + "\n"
}

// wallClock turns a reading of CLOCK_MONOTONIC into the time of day.
func wallClock(at time.Duration) (time.Time, error) {
	now, err := bpfmap.Now()
	if err != nil {
		return time.Time{}, err
	}
	return time.Now().Add(at - now).UTC(), nil
}
