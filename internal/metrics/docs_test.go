// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/metrics.md and docs/dashboard.json anew")

// The page and the dashboard are what the table says. To follow it:
// go test ./internal/metrics -run Documents -update
func TestDocumentsFollowTheTable(t *testing.T) {
	for name, want := range map[string][]byte{"metrics.md": markdown(), "dashboard.json": dashboardJSON(t)} {
		path := filepath.Join("..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, want) {
			t.Errorf("docs/%s is not what the table of metrics says; run: go test ./internal/metrics -run Documents -update", name)
		}
	}
}

func markdown() []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Generated from internal/metrics: go test ./internal/metrics -run Documents -update -->\n" +
		"# Metrics\n\n" +
		"`kmesh-node run` serves these at `http://127.0.0.1:15200/metrics` (`--admin-address`). `docs/dashboard.json` is a\n" +
		"Grafana dashboard of all of them. Counters that the kernel keeps outlive the process.\n")
	for _, g := range groups() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n", g.title, g.about)
		for _, m := range g.metrics {
			labels := "-"
			if len(m.labels) > 0 {
				labels = "`" + strings.Join(m.labels, "`, `") + "`"
			}
			fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s |\n", prefix, m.name, m.kind, labels, strings.ReplaceAll(m.help, "|", `\|`))
		}
	}
	return b.Bytes()
}

func TestTheTableHoldsTogether(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range all() {
		if seen[m.name] {
			t.Errorf("%s is there twice", m.name)
		}
		seen[m.name] = true
		if !strings.HasSuffix(m.help, ".") || m.unit == "" {
			t.Errorf("%s: help %q, unit %q", m.name, m.help, m.unit)
		}
		if (m.kind == summary) != (m.observed != nil) || (m.kind == summary) == (m.read != nil) {
			t.Errorf("%s: a summary is observed, all others are read", m.name)
		}
	}
}
