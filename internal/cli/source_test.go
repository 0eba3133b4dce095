// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/keeper"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/loader"
)

// sourceAt is a source of an ads mode that is not up.
func sourceAt(t *testing.T, paths ...string) (*source, *strings.Builder) {
	t.Helper()
	cfg, log := loader.Default(), &strings.Builder{}
	cfg.Mode, cfg.RunDir, cfg.BpfFsPath, cfg.Log = loader.Ads, t.TempDir(), t.TempDir(), logrus.New()
	cfg.Objects = os.DirFS("../../build/bpf")
	cfg.Log.SetOutput(log)
	return newSource(&cfg, keeper.New(&cfg, false), paths), log
}

func file(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func clusterNamed(name string) string { return "kind: Cluster\nname: " + name + "\n" }

func namesOf(l []xds.Name) []string {
	names := make([]string, len(l))
	for i, n := range l {
		names[i] = string(n.Kind) + " " + n.Name
		if n.Key != "" {
			names[i] += " " + n.Key
		}
	}
	slices.Sort(names)
	return names
}

func TestASourceHoldsWhatItsFilesName(t *testing.T) {
	dir := t.TempDir()
	file(t, dir, "a.yaml", clusterNamed("a")+"---\n"+clusterNamed("b"))
	one := file(t, t.TempDir(), "anything", `{"kind": "Listener", "name": "l", "address": "10.0.0.1:80"}`)
	s, _ := sourceAt(t, dir, one)
	r, err := s.read()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{dir: {"Cluster a", "Cluster b"}, one: {"Listener l 10.0.0.1:80"}} {
		if got := namesOf(r.holds[path]); !slices.Equal(got, want) {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
}

func TestWhatASourceHoldsNoLongerGoes(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	file(t, dir, "a.yaml", clusterNamed("a"))
	file(t, other, "a.yaml", clusterNamed("c"))
	s, _ := sourceAt(t, dir, other, filepath.Join(dir, "none"))
	s.held = holdings{dir: {{Kind: "Cluster", Name: "a"}, {Kind: "Cluster", Name: "gone"}, {Kind: "Cluster", Name: "c"}},
		filepath.Join(dir, "none"): {{Kind: "Cluster", Name: "not there"}},
		"/another":                 {{Kind: "Listener", Name: "l", Key: "10.0.0.1:80"}}}
	r, err := s.read()
	if err != nil {
		t.Fatal(err)
	}
	if got := namesOf(s.held.without(r.holds)); !slices.Equal(got, []string{"Cluster gone", "Listener l 10.0.0.1:80"}) {
		t.Errorf("goes: %q", got)
	}
	if got := r.missing; !slices.Equal(got, []string{filepath.Join(dir, "none")}) {
		t.Errorf("missing: %q", got)
	}
	// Until that is done both are written down.
	both := slices.Sorted(maps.Keys(byName(s.held.with(r.holds))))
	if !slices.Equal(both, []string{"a", "c", "gone", "l", "not there"}) {
		t.Errorf("both: %q", both)
	}
	docs := xds.Removal("before", s.held.without(r.holds))
	if len(docs) != 2 || docs[0].Kind != xds.KindListener || docs[0].Removed[0] != "l" || docs[1].Removed[0] != "gone" {
		t.Errorf("documents: %+v", docs)
	}
}

func byName(h holdings) map[string]bool {
	names := map[string]bool{}
	for n := range h.set() {
		names[n.Name] = true
	}
	return names
}

func TestAnEmptyDirectoryHoldsNothingAndIsFine(t *testing.T) {
	s, _ := sourceAt(t, t.TempDir())
	r, err := s.read()
	if err != nil || r.holds.count() != 0 || len(r.missing) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWhatIsWrongIsNamedAndToldOnce(t *testing.T) {
	dir := t.TempDir()
	file(t, dir, "a.yaml", clusterNamed("a"))
	bad := file(t, dir, "b.yaml", "kind: Listener\nname: l\naddress: 10.0.0.1:80\nfilterChains: [{filters: [{tcpProxy: {cluster: \"\"}}]}]\n")
	s, log := sourceAt(t, dir)
	for range 3 {
		s.apply()
	}
	if exit.Code(s.err) != exit.Rejected || !strings.Contains(s.err.Error(), "Listener l") || !s.settled() {
		t.Errorf("error: %v", s.err)
	}
	if n := strings.Count(log.String(), "level=error"); n != 1 || !strings.Contains(log.String(), bad) {
		t.Errorf("told %d times:\n%s", n, log)
	}
	if text := s.String(); !strings.Contains(text, "0 resources as before") || !strings.Contains(text, bad) {
		t.Errorf("status: %s", text)
	}
	// Corrected: there is no data plane here, which another try may find.
	file(t, dir, "b.yaml", clusterNamed("b"))
	s.apply()
	if exit.Code(s.err) != exit.NotUp || s.settled() {
		t.Errorf("corrected: %v", s.err)
	}
}

func TestWhatIsWrittenDownIsReadBack(t *testing.T) {
	dir := t.TempDir()
	s, log := sourceAt(t, dir)
	want := holdings{dir: {{Kind: "Cluster", Name: "a"}, {Kind: "Listener", Name: "l", Key: "10.0.0.1:80"}}}
	if err := s.remember(want); err != nil {
		t.Fatal(err)
	}
	next := newSource(s.cfg, s.maps, []string{dir})
	if err := next.recall(); err != nil || !maps.EqualFunc(next.held, want, slices.Equal) {
		t.Errorf("%v, %v", next.held, err)
	}
	files := s.cfg.SourceFiles()
	if _, err := os.Stat(files[1]); err == nil {
		t.Error("the file half written is left")
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	next = newSource(s.cfg, s.maps, []string{dir})
	if err := next.recall(); err != nil || len(next.held) != 0 || !strings.Contains(log.String(), files[0]) {
		t.Errorf("of a damaged file: %v, %v\n%s", next.held, err, log)
	}
}

func TestTheVariableOfConfigSeparatesByCommas(t *testing.T) {
	for _, c := range []struct {
		env  string
		args []string
		want []string
	}{
		{"", nil, nil},
		{"/a,/b", nil, []string{"/a", "/b"}},
		{"/a", []string{"--config", "/c,d", "--config", "/e"}, []string{"/c,d", "/e"}},
		{"", []string{"--config", "/c,d"}, []string{"/c,d"}},
	} {
		t.Setenv("KMESH_NODE_CONFIG", c.env)
		if got := configOf(t, c.args...); !slices.Equal(got, c.want) {
			t.Errorf("%q %q: %q, want %q", c.env, c.args, got, c.want)
		}
	}
}

func TestTurnsComeInTimeForTheWatchdog(t *testing.T) {
	for _, c := range []struct {
		asked, watchdog, want string
	}{{"30s", "", "30s"}, {"30s", "20000000", "10s"}, {"5s", "20000000", "5s"}, {"1ms", "", ""}, {"30s", "x", ""}} {
		t.Setenv("WATCHDOG_USEC", c.watchdog)
		t.Setenv("WATCHDOG_PID", "")
		got, err := turnInterval(duration(t, c.asked))
		if c.want == "" && exit.Code(err) != exit.Usage || c.want != "" && (err != nil || got != duration(t, c.want)) {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}

// configOf is what --config of run is taken for.
func configOf(t *testing.T, args ...string) (got []string) {
	t.Helper()
	c := &command{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	app := newApp(c)
	app.Command("run").Action = func(ctx *cli.Context) error {
		got = listFlag(ctx, "config")
		return nil
	}
	if err := app.Run(append([]string{"kmesh-node", "run"}, args...)); err != nil {
		t.Fatal(err)
	}
	return got
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestHoldingsThatCannotBeReadAreTheHostsFault(t *testing.T) {
	s, _ := sourceAt(t)
	if err := os.Mkdir(s.cfg.SourceFiles()[0], 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.read(); exit.Code(err) != exit.NotReady || !strings.Contains(err.Error(), "run as root") {
		t.Errorf("%v", err)
	}
}
