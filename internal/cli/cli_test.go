// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/loader"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/filter"
	"github.com/kmesh-net/kmesh-node/proto/listener"
)

// result is what one run of the command line said.
type result struct {
	code        int
	out, errout string
}

func run(args ...string) result {
	var out, errout bytes.Buffer
	app := newApp(&command{objects: fstest.MapFS{"a.bpf.o": {Data: []byte("object")}}, stdin: strings.NewReader(""), stdout: &out, stderr: &errout})
	code := Execute(app, append([]string{"kmesh-node"}, args...))
	return result{code, out.String(), errout.String()}
}

func TestUsageErrorsExit2WithOneLine(t *testing.T) {
	for _, args := range [][]string{
		{"bogus"},
		{"up", "stray"},
		{"up", "--no-such-flag"},
		{"--no-such-flag"},
		{"--mode"},
		{"--mode", "other", "up"},
		{"--mode", "ads", "--log-level", "loud", "up"},
		{"--mode", "ads", "--log-format", "xml", "up"},
		{"--mode", "ads", "--lock-timeout", "-1s", "up"},
		{"--mode", "ads", "--lock-timeout", "x", "up"},
		{"--mode", "ads", "-o", "xml", "status"},
		{"version", "-o", "xml"},
		{"--mode", "ads", "up", "--manage", "some"},
		{"--mode", "ads", "up", "--connect-ret", "perhaps"},
		{"--mode", "ads", "up", "--control-address", "maybe"},
		{"--mode", "ads", "up", "--outlier-detection", "yes"},
		{"--mode", "ads", "up", "--outlier-failures", "0"},
		{"--mode", "ads", "up", "--outlier-failures", "-1"},
		{"--mode", "ads", "up", "--outlier-backoff", "0s"},
		{"--mode", "ads", "up", "--outlier-backoff", "10s", "--outlier-backoff-max", "5s"},
		{"--mode", "ads", "apply"},
		{"--mode", "ads", "get"},
		{"--mode", "ads", "get", "things"},
		{"--mode", "ads", "get", "clusters", "a", "b"},
		{"--mode", "ads", "get", "enrolled", "a"},
		{"--mode", "ads", "delete"},
		{"--mode", "ads", "delete", "cluster"},
		{"--mode", "ads", "delete", "cluster", ""},
		{"--mode", "ads", "delete", "thing", "a"},
		{"--mode", "ads", "enroll"},
		{"--mode", "ads", "enroll", "--self", "--pid", "1"},
		{"--mode", "ads", "enroll", "--pid", "0"},
		{"--mode", "ads", "unenroll"},
		{"--mode", "ads", "exec"},
		{"--mode", "ads", "exec", "--", "/no/such/program"},
		{"up", "--connect-ret", "off"}, // workload is the default
		{"up", "--outlier-detection", "on"},
		{"--mode", "ads", "up", "--xdp-mode", "generic"},
		{"--mode", "ads", "up", "--flow-entries", "65536"},
		{"up", "--waypoint-port", "0"},
		{"up", "--waypoint-port", "65536"},
		{"up", "--node-traffic", "drop"},
		{"up", "--node-name", strings.Repeat("n", 256)},
		{"up", "--locality", "a/b/c/d"},
		{"up", "--locality", "a//c"},
		{"up", "--locality", strings.Repeat("r", 256)},
		{"up", "--xdp-mode", "offload"},
		{"up", "--flow-entries", "1"},
		{"up", "--flow-entries", "1000"},
		{"up", "--policy-slots", "2048"},
		{"up", "--policy-slots", "5000"},
	} {
		r := run(args...)
		if r.code != exit.Usage || strings.Count(r.errout, "\n") != 1 || !strings.HasPrefix(r.errout, "kmesh-node: ") || r.out != "" {
			t.Errorf("%q: exit %d, %q, %q", args, r.code, r.out, r.errout)
		}
	}
}

func TestNoCommandPrintsTheCommands(t *testing.T) {
	r := run()
	if r.code != exit.Usage || r.out != "" {
		t.Errorf("exit %d, %q", r.code, r.out)
	}
	for _, c := range []string{"up", "run", "down", "status", "check", "apply", "get", "delete", "enroll", "unenroll", "events", "env", "exec", "version"} {
		if !strings.Contains(r.errout, "\n   "+c+" ") {
			t.Errorf("help lacks %s", c)
		}
	}
}

func TestVersionInEachForm(t *testing.T) {
	var v versionInfo
	if r := run("version", "-o", "json"); r.code != 0 || json.Unmarshal([]byte(r.out), &v) != nil || len(v.Objects["a"]) != 64 || v.Libbpf == "" {
		t.Errorf("%+v gave %+v", r, v)
	}
	var y versionInfo
	if r := run("-o", "yaml", "version"); r.code != 0 || yaml.Unmarshal([]byte(r.out), &y) != nil || y.Objects["a"] != v.Objects["a"] {
		t.Errorf("%+v gave %+v", r, y)
	}
	if r := run("version"); r.code != 0 || !strings.Contains(r.out, "object a") {
		t.Errorf("%+v", r)
	}
}

// flagOf runs `probe` with args and returns the global flag as a command sees it.
func flagOf(t *testing.T, name string, args ...string) string {
	t.Helper()
	var got string
	app := newApp(&command{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}})
	app.Command("version").Action = func(ctx *cli.Context) error {
		got = global(ctx, name)
		return nil
	}
	if code := Execute(app, append([]string{"kmesh-node"}, args...)); code != 0 {
		t.Fatalf("%q: exit %d", args, code)
	}
	return got
}

func TestGlobalFlagsComeFromTheCommandThenFromBeforeItThenFromTheEnvironment(t *testing.T) {
	const flag = "bpf-fs-path"
	if got := flagOf(t, flag, "version"); got != "/sys/fs/bpf" {
		t.Errorf("default %q", got)
	}
	t.Setenv("KMESH_NODE_BPF_FS_PATH", "/env")
	for want, args := range map[string][]string{
		"/env":    {"version"},
		"/before": {"--bpf-fs-path", "/before", "version"},
		"/after":  {"--bpf-fs-path", "/before", "version", "--bpf-fs-path", "/after"},
	} {
		if got := flagOf(t, flag, args...); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
	if got := flagOf(t, "output", "version", "-o", "json"); got != "json" {
		t.Errorf("-o behind the command: %q", got)
	}
}

func TestEveryFlagHasItsVariable(t *testing.T) {
	app := newApp(&command{})
	check := func(flags []cli.Flag) {
		for _, f := range flags {
			d, ok := f.(cli.DocGenerationFlag)
			if !ok || slices.Contains(f.Names(), "help") {
				continue
			}
			want := "KMESH_NODE_" + strings.ToUpper(strings.ReplaceAll(f.Names()[0], "-", "_"))
			if !slices.Contains(d.GetEnvVars(), want) {
				t.Errorf("--%s is not read from %s", f.Names()[0], want)
			}
		}
	}
	check(app.Flags)
	for _, c := range app.Commands {
		check(c.Flags[:len(c.Flags)-len(globalFlags(false))])
	}
}

func TestFlagsMayStandBehindArguments(t *testing.T) {
	app := newApp(&command{})
	for in, want := range map[string]string{
		"get clusters a -o json":            "get -o json clusters a",
		"get clusters -o=json a":            "get -o=json clusters a",
		"--mode ads get clusters a -o json": "--mode ads get -o json clusters a",
		"apply -f a b --skip-invalid c":     "apply -f a --skip-invalid b c",
		"apply -f - --skip-invalid":         "apply -f - --skip-invalid",
		"get clusters -- -o json":           "get clusters -- -o json",
		"exec -- ls -o json":                "exec -- ls -o json",
		"exec ls -l":                        "exec ls -l",
		"bogus a -o json":                   "bogus a -o json",
		"--mode":                            "--mode",
		"get -o":                            "get -o",
		"":                                  "",
	} {
		got := permute(app, append([]string{"kmesh-node"}, strings.Fields(in)...))
		if s := strings.Join(got[1:], " "); s != want {
			t.Errorf("%q became %q, want %q", in, s, want)
		}
	}
}

func TestErrorsOfTheStoreHaveTheirCodes(t *testing.T) {
	for err, code := range map[error]int{
		fmt.Errorf("x: %w", store.ErrLocked):               exit.Locked,
		fmt.Errorf("x: %w", store.ErrGaveWay):              exit.NotUp,
		fmt.Errorf("x: %w", store.ErrNoSpace):              exit.Rejected,
		fmt.Errorf("x: %w", store.ErrNotFound):             exit.NotUp,
		&store.InvalidError{Message: "m"}:                  exit.Rejected,
		errors.New("x"):                                    exit.NotReady,
		&exit.Error{Code: exit.Load, Err: errors.New("x")}: exit.Load,
	} {
		if got := exit.Code(storeError("step", err)); got != code {
			t.Errorf("%v: %d, want %d", err, got, code)
		}
	}
	if storeError("step", nil) != nil {
		t.Error("an error of nothing")
	}
}

func TestARejectionIsOneLineAndThenTheEndOfTheLog(t *testing.T) {
	var b bytes.Buffer
	printError(&b, &exit.Error{Code: exit.Load, Step: "load object", Object: "a",
		Err: &loader.VerifierError{Program: "p", Err: errors.New("no"), Tail: []string{"one", "two"}, File: "/f"}})
	want := "kmesh-node: load object: a: program p: the kernel rejected it: no; the verifier's log is in /f\n  | one\n  | two\n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestNamespaceOfAFlag(t *testing.T) {
	for want, args := range map[string][]string{
		"/run/netns/blue":   {"--netns", "blue"},
		"/tmp/ns":           {"--netns", "/tmp/ns"},
		"/proc/7/ns/net":    {"--pid", "7"},
		"/proc/self/ns/net": {"--self"},
	} {
		app := newApp(&command{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}})
		var got string
		app.Command("enroll").Action = func(ctx *cli.Context) (err error) {
			got, err = namespacePath(ctx)
			return err
		}
		if code := Execute(app, append([]string{"kmesh-node", "enroll"}, args...)); code != 0 || got != want {
			t.Errorf("%q: %q, exit %d", args, got, code)
		}
	}
}

func TestSummaries(t *testing.T) {
	to := func(name string) *listener.FilterChain {
		return &listener.FilterChain{Filters: []*listener.Filter{{Name: "unknown"}, {ConfigType: &listener.Filter_TcpProxy{
			TcpProxy: &filter.TcpProxy{ClusterSpecifier: &filter.TcpProxy_Cluster{Cluster: name}}}}}}
	}
	for _, c := range []struct {
		l    *listener.Listener
		want string
	}{
		{&listener.Listener{}, "-"},
		{&listener.Listener{Passthrough: true, FilterChains: []*listener.FilterChain{to("a")}}, "passthrough"},
		{&listener.Listener{FilterChains: []*listener.FilterChain{to("a")}}, "cluster a"},
		{&listener.Listener{FilterChains: []*listener.FilterChain{to("a")}, DefaultFilterChain: to("b")}, "cluster a and 1 more"},
	} {
		if got := listenerTo(c.l); got != c.want {
			t.Errorf("%v leads to %q, want %q", c.l, got, c.want)
		}
	}
	for _, k := range config.Kinds() {
		if len(heading(k)) == 0 {
			t.Errorf("%v has no heading", k)
		}
	}
	row := summary(&cluster.Cluster{Name: "c", Passthrough: true})
	if len(row) != len(heading(config.Cluster)) || !strings.Contains(row[2], "passthrough") {
		t.Error(row)
	}
}
