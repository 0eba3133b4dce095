// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/events"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/workload"
)

// A control plane may name things as it likes.
const wildName, tameName = "ns/e\x1b[31m\u009b2J\n\td\u202e", "ns/e?[31m?2J??d?"

type wildNames struct{}

func (wildNames) resource(uint32) (kind, name string, err error) {
	return workload.Service.String(), wildName, nil
}

func TestNamesReachNoTerminalAsTheyAre(t *testing.T) {
	var tables, event, failure bytes.Buffer
	if err := serviceTable([]workload.ServiceView{{Name: wildName, Waypoint: wildName}}).print(&tables); err != nil {
		t.Fatal(err)
	}
	p := eventPrinter{out: &event, form: "table", names: wildNames{}}
	if err := p.event(events.Event{Type: events.Denied, Resource: 1, Policy: 2}); err != nil {
		t.Fatal(err)
	}
	printError(&failure, &exit.Error{Step: "delete", Object: wildName, Err: errors.New("no such \x1b[31m"), Remedy: "look"})
	for text, want := range map[string]struct{ lines, names int }{tables.String(): {2, 2}, event.String(): {1, 2}, failure.String(): {1, 1}} {
		if strings.Count(text, "\n") != want.lines || strings.Count(text, tameName) != want.names || strings.ContainsAny(text, "\x1b\u009b\t\u202e") {
			t.Errorf("%q", text)
		}
	}
}

func TestNamesReachProgramsAsTheyAre(t *testing.T) {
	var b bytes.Buffer
	p := eventPrinter{out: &b, form: "json", names: wildNames{}}
	if err := p.event(events.Event{Type: events.Opened, Resource: 1}); err != nil {
		t.Fatal(err)
	}
	var l eventLine
	if err := json.Unmarshal(b.Bytes(), &l); err != nil || l.Service != wildName {
		t.Errorf("%q, %v", l.Service, err)
	}
}
