// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// handOff are the documented variables; each has a twin NAME_FD.
var handOff = []string{"Listener", "Cluster", "RouteConfiguration", "OUTTER_MAP_ID", "INNER_MAP_ID"}

// program is a C program that is linked with the store and knows only its environment.
func program(t *testing.T) string { return repoFile(t, "build", "test", "handoff") }

func TestProgramUnderExecChangesWhatTrafficGets(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1), static("six", six1)),
		lds(listener(service, toCluster("a")), listener(service6, toCluster("six"))))
	wantReach(t, c, service, epA1)
	n.want(exitDone, "exec", "--", program(t), "set-cluster", "a", epB1, epB2)
	wantSpread(t, c, service, counts{epB1: 10, epB2: 10})
	n.want(exitDone, "exec", "--", program(t), "set-cluster", "six", six2)
	wantReach(t, c, service6, six2)
	if r := n.want(exitDone, "exec", "--", program(t), "get-cluster", "a"); !contains(r.out, epB1) {
		t.Errorf("%v\ndoes not show %s", r, epB1)
	}
	if r := n.want(exitDone, "get", "clusters", "a", "-o", "yaml"); !contains(r.out, epB1) {
		t.Errorf("%v\ndoes not show %s", r, epB1)
	}
}

func TestExecPassesTheExitCodeAndTheArguments(t *testing.T) {
	n := upNode(t)
	if r := n.run("exec", "--", "sh", "-c", "exit 42"); r.code != 42 {
		t.Errorf("%v\nwant exit 42", r)
	}
	if r := n.want(exitDone, "exec", "--", "printf", "%s,", "a b", "-o", "--mode"); r.out != "a b,-o,--mode," {
		t.Errorf("arguments arrive as %q", r.out)
	}
}

// environment returns the variables that env prints.
func environment(n *node) map[string]string {
	n.t.Helper()
	vars := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(n.want(exitDone, "env").out), "\n") {
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			n.t.Fatalf("env prints %q", line)
		}
		vars[name] = value
	}
	return vars
}

func TestEnvPrintsTheIDsOfTheMapsAndNoDescriptors(t *testing.T) {
	n := upNode(t)
	vars := environment(n)
	ids := map[string]bool{}
	for _, id := range n.pinIDs() {
		ids[id] = true
	}
	for _, name := range handOff {
		if !ids["map "+vars[name]] {
			t.Errorf("%s=%s is no pinned map's id", name, vars[name])
		}
	}
	for name := range vars {
		if strings.HasSuffix(name, "_FD") {
			t.Errorf("env prints %s, a descriptor that is dead", name)
		}
	}
}

func TestIDsAloneAreEnough(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	cmd := exec.Command(program(t), "set-cluster", "a", epB1)
	cmd.Env = os.Environ()
	for name, value := range environment(n) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	wantExit(t, exitDone, runCommand(t, cmd))
	wantReach(t, c, service, epB1)
}

// changed starts the program under exec, in a shell that changes its environment
// first. bash, for that dash knows no descriptors above 9.
func changed(t *testing.T, n *node, change string) result {
	return n.run("exec", "--", "bash", "-c", change+`; exec "$0" set-cluster a `+epB1, program(t))
}

func TestHandOffTrustsNoID(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	vars := environment(n)
	own := strings.TrimPrefix(n.pinIDs()["kmesh_node/ads/map/km_own"], "map ")
	if own == "" {
		t.Fatalf("no pin of km_own in %v", n.pins())
	}
	// A map like those of the roots, but for its size, whom believing would overrun.
	small := filepath.Join(n.bpf, "small")
	run(t, "", "bpftool", "map", "create", small, "type", "array", "key", "4", "value", "24", "entries", "8",
		"name", "small", "flags", "0x400")
	defer os.Remove(small)
	id, err := pinnedID(small)
	if err != nil {
		t.Fatal(err)
	}
	for name := range vars {
		other := vars["Cluster"]
		if name == "Cluster" {
			other = vars["Listener"]
		}
		for what, change := range map[string]string{
			"absent":                    "unset " + name + " " + name + "_FD",
			"absent, though open":       "unset " + name,
			"empty":                     "export " + name + "=",
			"junk":                      "export " + name + "=12x",
			"negative":                  "export " + name + "=-1",
			"too large":                 "export " + name + "=99999999999999999999",
			"an id that is none":        "export " + name + "=4294967295",
			"another map of the store":  "export " + name + "=" + other,
			"another map of kmesh-node": "export " + name + "=" + own,
			"a map of another size":     "export " + name + "=" + strings.TrimPrefix(id, "map "),
		} {
			r := changed(t, n, change)
			if r.code == exitDone || !contains(r.err, name) {
				t.Errorf("%s is %s: %v\nwant it refused by name", name, what, r)
			}
		}
	}
	wantReach(t, c, service, epA1)
}

// A descriptor that is not of that map is not used: the id is.
func TestHandOffTrustsNoDescriptor(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	for name := range environment(n) {
		fd := name + "_FD"
		other := "Cluster_FD"
		if name == "Cluster" {
			other = "Listener_FD"
		}
		for what, change := range map[string]string{
			"absent":         "unset " + fd,
			"closed":         `eval "exec $` + fd + `>&-"`,
			"another file's": `eval "exec $` + fd + `</dev/null"`,
			"another map's":  "export " + fd + "=$" + other,
			"of no number":   "export " + fd + "=2147483647",
		} {
			if r := changed(t, n, change); r.code != exitDone {
				t.Errorf("%s is %s: %v", fd, what, r)
			}
			wantReach(t, c, service, epB1)
			n.apply(cds(static("a", epA1)))
		}
		for _, junk := range []string{"zzz", "-7", "3x"} {
			if r := changed(t, n, "export "+fd+"="+junk); r.code == exitDone || !contains(r.err, fd) {
				t.Errorf("%s is %s: %v\nwant it refused by name", fd, junk, r)
			}
		}
		wantReach(t, c, service, epA1)
	}
}
