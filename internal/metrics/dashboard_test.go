// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The parts of a Grafana dashboard that are used, in the names of its JSON model.
type (
	dashboard struct {
		Title         string         `json:"title"`
		UID           string         `json:"uid"`
		Description   string         `json:"description"`
		Tags          []string       `json:"tags"`
		SchemaVersion int            `json:"schemaVersion"`
		Version       int            `json:"version"`
		Editable      bool           `json:"editable"`
		GraphTooltip  int            `json:"graphTooltip"`
		Refresh       string         `json:"refresh"`
		Time          map[string]any `json:"time"`
		Templating    struct {
			List []variable `json:"list"`
		} `json:"templating"`
		Panels []panel `json:"panels"`
	}
	variable struct {
		Name       string      `json:"name"`
		Label      string      `json:"label"`
		Type       string      `json:"type"`
		Query      string      `json:"query"`
		Datasource *datasource `json:"datasource,omitempty"`
		Refresh    int         `json:"refresh"`
		Multi      bool        `json:"multi"`
		IncludeAll bool        `json:"includeAll"`
		AllValue   string      `json:"allValue,omitempty"`
		Current    any         `json:"current"`
	}
	datasource struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	}
	panel struct {
		ID          int            `json:"id"`
		Type        string         `json:"type"`
		Title       string         `json:"title"`
		Description string         `json:"description,omitempty"`
		GridPos     grid           `json:"gridPos"`
		Collapsed   *bool          `json:"collapsed,omitempty"`
		Datasource  *datasource    `json:"datasource,omitempty"`
		FieldConfig map[string]any `json:"fieldConfig,omitempty"`
		Options     map[string]any `json:"options,omitempty"`
		Targets     []target       `json:"targets,omitempty"`
	}
	grid struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	}
	target struct {
		RefID        string     `json:"refId"`
		Datasource   datasource `json:"datasource"`
		Expr         string     `json:"expr"`
		LegendFormat string     `json:"legendFormat"`
	}
)

var source = datasource{"prometheus", "${datasource}"}

const (
	columns  = 24
	selector = `{instance=~"$instance"}`
	most     = "10" // series of a panel whose labels have many values
)

// glance is what a first look at all nodes shows.
var glance = []struct{ title, expr, unit string }{
	{"Nodes that are ready", `sum(kmesh_node_ready` + selector + `)`, "short"},
	{"Nodes that are not", `count(kmesh_node_ready` + selector + ` == 0) or vector(0)`, "short"},
	{"Nodes without control plane", `count(kmesh_node_xds_connected` + selector + ` == 0) or vector(0)`, "short"},
	{"NACKs in an hour", `sum(increase(kmesh_node_xds_nacks_total` + selector + `[1h])) or vector(0)`, "short"},
	{"Connects that fail", `sum(rate(kmesh_node_connects_total{instance=~"$instance",result!="ok"}[$__rate_interval])) / ` +
		`sum(rate(kmesh_node_connects_total` + selector + `[$__rate_interval]))`, "percentunit"},
	{"Denied", `sum(rate(kmesh_node_denied_total` + selector + `[$__rate_interval])) or vector(0)`, "ops"},
}

// layout gives panels their ids and places.
type layout struct {
	panels  []panel
	x, y, h int
}

func (l *layout) add(p panel, w, h int) {
	if l.x+w > columns {
		l.x, l.y = 0, l.y+l.h
	}
	p.ID, p.GridPos = len(l.panels)+1, grid{h, w, l.x, l.y}
	l.panels = append(l.panels, p)
	l.x, l.h = l.x+w, h
}

func (l *layout) row(title string) {
	if l.x > 0 {
		l.x, l.y = 0, l.y+l.h
	}
	open := false
	l.add(panel{Type: "row", Title: title, Collapsed: &open}, columns, 1)
}

func makeDashboard() dashboard {
	d := dashboard{Title: "kmesh-node", UID: "kmesh-node", Description: "Generated from the list of metrics of kmesh-node (internal/metrics).",
		Tags: []string{"kmesh-node"}, SchemaVersion: 39, Version: 1, Editable: true, GraphTooltip: 1, Refresh: "30s",
		Time: map[string]any{"from": "now-1h", "to": "now"}}
	d.Templating.List = []variable{
		{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: 1, Current: map[string]any{}},
		{Name: "instance", Label: "Node", Type: "query", Query: "label_values(kmesh_node_build_info, instance)", Datasource: &source,
			Refresh: 2, Multi: true, IncludeAll: true, AllValue: ".*", Current: map[string]any{"text": "All", "value": "$__all"}},
	}
	l := &layout{}
	l.row("At a glance")
	for _, g := range glance {
		l.add(panel{Type: "stat", Title: g.title, Datasource: &source, FieldConfig: fields(g.unit),
			Options: map[string]any{"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}}},
			Targets: []target{{"A", source, g.expr, ""}}}, columns/len(glance), 4)
	}
	for _, g := range groups() {
		l.row(g.title)
		for _, m := range g.metrics {
			l.add(panel{Type: "timeseries", Title: titleOf(m.name), Description: m.help, Datasource: &source, FieldConfig: fields(unitOf(m)),
				Targets: []target{{"A", source, expression(m), legend(m)}}}, 8, 8)
		}
	}
	d.Panels = l.panels
	return d
}

func fields(unit string) map[string]any {
	return map[string]any{"defaults": map[string]any{"unit": unit}, "overrides": []any{}}
}

func titleOf(name string) string {
	for _, suffix := range []string{"_total", "_timestamp_seconds", "_seconds", "_bytes"} {
		name = strings.TrimSuffix(name, suffix)
	}
	name = strings.ReplaceAll(strings.ReplaceAll(name, "_", " "), "xds", "xDS")
	return strings.ToUpper(name[:1]) + name[1:]
}

func unitOf(m metric) string {
	if m.kind == counter && m.unit == "s" {
		return "percentunit" // of the time
	}
	if m.kind == counter && m.unit == "short" {
		return "ops"
	}
	return m.unit
}

func expression(m metric) string {
	name := prefix + m.name
	by := strings.Join(append([]string{"instance"}, m.labels...), ", ")
	rate := func(name string) string {
		return "sum by (" + by + ") (rate(" + name + selector + "[$__rate_interval]))"
	}
	expr := name + selector
	switch {
	case m.kind == counter:
		expr = rate(name)
	case m.kind == summary:
		expr = rate(name+"_sum") + " / " + rate(name+"_count")
	case m.unit == "dateTimeFromNow":
		expr += " * 1000" // Grafana's times are in ms
	}
	if slices.Contains(m.labels, "service") || slices.Contains(m.labels, "policy") {
		expr = "topk(" + most + ", " + expr + ")"
	}
	return expr
}

func legend(m metric) string {
	words := []string{"{{instance}}"}
	for _, l := range m.labels {
		words = append(words, "{{"+l+"}}")
	}
	return strings.Join(words, " ")
}

func dashboardJSON(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(makeDashboard()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var word = regexp.MustCompile(prefix + `[a-z_]+`)

// What Grafana refuses, or shows in a way that nobody meant.
func TestTheDashboardIsOneThatGrafanaTakes(t *testing.T) {
	d := makeDashboard()
	ids, cells := map[int]bool{}, map[[2]int]string{}
	shown := map[string]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID < 1 || p.Title == "" {
			t.Errorf("panel %d %q", p.ID, p.Title)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.X < 0 || g.X+g.W > columns || g.W < 1 || g.H < 1 {
			t.Errorf("panel %q is at %+v", p.Title, g)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" {
					t.Fatalf("panels %q and %q lie over each other", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %q has %d queries", p.Title, len(p.Targets))
		}
		for _, q := range p.Targets {
			if err := balanced(q.Expr); err != "" {
				t.Errorf("%s: %s", q.Expr, err)
			}
			for _, name := range word.FindAllString(q.Expr, -1) {
				shown[name] = true
			}
		}
	}
	for _, m := range all() {
		names := []string{prefix + m.name}
		if m.kind == summary {
			names = []string{prefix + m.name + "_sum", prefix + m.name + "_count"}
		}
		for _, n := range names {
			if !shown[n] {
				t.Errorf("%s is on no panel", n)
			}
			delete(shown, n)
		}
	}
	for name := range shown {
		t.Errorf("%s is on a panel and no metric", name)
	}
}

// balanced says what is wrong with the brackets of an expression.
func balanced(expr string) string {
	var open []rune
	closes := map[rune]rune{')': '(', '}': '{', ']': '['}
	for _, c := range expr {
		switch {
		case strings.ContainsRune("({[", c):
			open = append(open, c)
		case closes[c] != 0:
			if len(open) == 0 || open[len(open)-1] != closes[c] {
				return "a bracket too many"
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return "a bracket is not closed"
	}
	return ""
}
