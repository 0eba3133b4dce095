// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestUsageErrorsExit2(t *testing.T) {
	n := upNode(t)
	for _, args := range [][]string{
		{"no-such-command"},
		{"up", "--no-such-flag"},
		{"up", "stray"},
		{"up", "--manage", "some"},
		{"up", "--connect-ret", "guess"},
		{"up", "--outlier-failures", "many"},
		{"status", "-o", "xml"},
		{"-o", "xml", "status"},
		{"--mode", "other", "status"},
		{"--log-level", "loud", "status"},
		{"--log-format", "xml", "status"},
		{"get"},
		{"get", "nonsense"},
		{"delete", "cluster"},
		{"delete", "nonsense", "x"},
		{"apply"},
		{"enroll"},
		{"enroll", "--self", "--pid", "1"},
		{"enroll", "--pid", "one"},
		{"exec"},
	} {
		if r := n.run(args...); r.code != exitUsage {
			t.Errorf("%v\nwant exit %d", r, exitUsage)
		}
	}
}

func TestNotUpExits14(t *testing.T) {
	n := newNode(t)
	p := newPod(t)
	docs := n.write(cds(static("a", epA1)))
	for _, args := range [][]string{
		{"status"}, {"get", "clusters"}, {"delete", "cluster", "a"}, {"apply", "-f", docs},
		{"enroll", "--netns", p.path}, {"unenroll", "--netns", p.path}, {"env"}, {"exec", "--", "true"},
	} {
		refused(t, exitNotUp, n.run(args...), "up")
	}
}

func TestNotFoundExits14(t *testing.T) {
	n := upNode(t)
	n.apply(cds(static("a", epA1)))
	for _, args := range [][]string{
		{"get", "clusters", "b"}, {"get", "listeners", service}, {"get", "routes", "r"}, {"get", "endpoints", "b"},
		{"delete", "cluster", "b"}, {"delete", "listener", service}, {"delete", "route", "r"},
	} {
		refused(t, exitNotUp, n.run(args...), args[2], "not found")
	}
}

func TestConfigurationThatIsRejectedExits13(t *testing.T) {
	n := upNode(t)
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, text := range map[string]string{
		"junk.json":    "{",
		"empty.json":   "",
		"junk.pb":      "\xff\xff\xff",
		"unknown.json": `{"typeUrl": "type.googleapis.com/x.Y", "resources": []}`,
		"name.json":    `{"typeUrl": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "resources": [{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "type": "STATIC"}]}`,
	} {
		path := file(name, text)
		r := n.run("apply", "-f", path)
		if r.code != exitRejected {
			t.Errorf("%s: %v\nwant exit %d", name, r, exitRejected)
		}
		if !contains(r.err, path) && !contains(r.err, "Cluster") {
			t.Errorf("%s: %v\nnames neither file nor resource", name, r)
		}
	}
	dir := n.write(cds(static("a", epA1)))
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, exitRejected, n.run("apply", "-f", dir), "notes.txt")
}

func TestOutputIsJSONWhereAsked(t *testing.T) {
	n, _, _ := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toRDS("r"))), rds(routes("r", vhost("any", []string{"*"}, always(cluster("a"))))))
	for _, args := range [][]string{
		{"status"}, {"check"}, {"check", "--verify"}, {"version"}, {"env"},
		{"get", "listeners"}, {"get", "clusters"}, {"get", "routes"}, {"get", "endpoints"}, {"get", "enrolled"},
		{"get", "cluster", "a"}, {"get", "listener", service}, {"get", "route", "r"}, {"get", "endpoints", "a"},
	} {
		var v any
		n.query(&v, args...)
		if v == nil {
			t.Errorf("%v -o json prints null", args)
		}
		// The flag may stand after the command too.
		r := n.want(exitDone, append(args, "-o", "json")...)
		if !json.Valid([]byte(r.out)) {
			t.Errorf("%v: not JSON", r)
		}
		if r := n.want(exitDone, append([]string{"-o", "yaml"}, args...)...); r.out == "" {
			t.Errorf("%v: nothing printed", r)
		}
	}
}

func TestGetPrintsWhatApplyTakes(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1), static("b", epB1)), lds(listener(service, toRDS("r"))),
		rds(routes("r", vhost("any", []string{"*"}, always(cluster("a"))))))
	wantReach(t, c, service, epA1)
	for _, format := range []string{"json", "yaml"} {
		dir := t.TempDir()
		for _, kind := range []string{"clusters", "listeners", "routes"} {
			r := n.want(exitDone, "-o", format, "get", kind)
			if err := os.WriteFile(filepath.Join(dir, kind+"."+format), []byte(r.out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		n.apply(cds(), lds())
		n.want(exitDone, "delete", "route", "r")
		wantReach(t, c, service, service)
		n.want(exitDone, "apply", "-f", dir)
		wantReach(t, c, service, epA1)
	}
}

func TestApplyReadsStandardInput(t *testing.T) {
	n, _, c := site(t)
	n.apply(lds(listener(service, toCluster("a"))))
	file, err := os.Open(filepath.Join(n.write(cds(static("a", epA1))), "00.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := n.command("apply", "-f", "-")
	cmd.Stdin = file
	wantExit(t, exitDone, runCommand(t, cmd))
	wantReach(t, c, service, epA1)
}

func TestFlagsAreInTheEnvironmentToo(t *testing.T) {
	n := newNode(t)
	cmd := exec.Command(n.bin, "up")
	cmd.Env = append(os.Environ(), "KMESH_NODE_MODE=ads", "KMESH_NODE_BPF_FS_PATH="+n.bpf,
		"KMESH_NODE_CGROUP2_PATH="+n.cg, "KMESH_NODE_MANAGE=all")
	wantExit(t, exitDone, runCommand(t, cmd))
	p := newPod(t)
	p.serve(service, epA1)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	wantReach(t, p.client(0), service, epA1)
}

func TestPhasesAreLoggedWithTheirTimes(t *testing.T) {
	n := newNode(t)
	r := n.want(exitDone, "--log-format", "json", "up")
	for _, phase := range []string{"NewBpfKmesh", "Load", "Attach", "ApiEnvCfg", "deserial_init"} {
		if !contains(r.err, phase) {
			t.Errorf("%v\nphase %s is not logged", r, phase)
		}
	}
}

func TestWhatWasDoneIsJSONToo(t *testing.T) {
	n := upNode(t)
	p := newPod(t)
	docs := n.write(cds(static("a", epA1)))
	for _, args := range [][]string{
		{"apply", "-f", docs}, {"enroll", "--netns", p.path}, {"unenroll", "--netns", p.path}, {"delete", "cluster", "a"},
	} {
		var v map[string]any
		n.query(&v, args...)
		if len(v) == 0 {
			t.Errorf("%v -o json says nothing", args)
		}
	}
}
