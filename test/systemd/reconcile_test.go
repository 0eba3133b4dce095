// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// entries are those of the unit's present or last life in the journal that are of
// this priority and speak of what.
func entries(t *testing.T, priority, what string) []map[string]any {
	t.Helper()
	must(t, "journalctl", "--sync")
	out := must(t, "journalctl", "-o", "json", "--all", "_SYSTEMD_INVOCATION_ID="+property(t, "InvocationID"))
	var l []map[string]any
	s := bufio.NewScanner(strings.NewReader(out))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var e map[string]any
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e["PRIORITY"] == priority && strings.Contains(fmt.Sprint(e["MESSAGE"]), what) {
			l = append(l, e)
		}
	}
	return l
}

const (
	priError   = "3"
	priWarning = "4"
	priInfo    = "6"
)

func TestJournalHasPrioritiesAndFields(t *testing.T) {
	fresh(t)
	must(t, "systemctl", "start", unit)
	told := slices.ContainsFunc(entries(t, priInfo, ""), func(e map[string]any) bool {
		return e["SYSLOG_IDENTIFIER"] == "kmesh-node" && e["KMESH_MODE"] == "workload"
	})
	if !told {
		t.Error("no entry of kmesh-node with KMESH_MODE")
	}
	must(t, "systemctl", "stop", unit)
	dropIn(t, "Environment=KMESH_NODE_FAULT=load", "Restart=no")
	must(t, node, "down")
	try(t, "systemctl", "start", unit)
	l := entries(t, priError, "load")
	if len(l) != 1 || l[0]["KMESH_EXIT_CODE"] != "11" || l[0]["KMESH_STEP"] == nil {
		t.Errorf("the error is not one entry with its exit code and step: %v", l)
	}
}

// detach takes a link's program away behind kmesh-node's back.
func detach(t *testing.T, prefix string) {
	t.Helper()
	for name, id := range links(t) {
		if strings.HasPrefix(name, prefix) {
			must(t, "bpftool", "link", "detach", "id", fmt.Sprint(id))
			return
		}
	}
	t.Fatalf("no link %s*: %v", prefix, links(t))
}

// A reload compares with the kernel at once; the turns do the same.
func TestRunRepairsLinks(t *testing.T) {
	fresh(t)
	p := running(t)
	for _, prefix := range []string{"sockconn4", "xdpauth-"} {
		before := links(t)
		detach(t, prefix)
		must(t, "systemctl", "reload", unit)
		wait(t, func() error {
			for name, id := range links(t) {
				if strings.HasPrefix(name, prefix) && before[name] != id {
					return nil
				}
			}
			return fmt.Errorf("%s is not put back: %s", prefix, property(t, "StatusText"))
		})
		if err := p.reaches(serviceIP); err != nil {
			t.Errorf("%s: connect to the service: %v", prefix, err)
		}
		if l := entries(t, priWarning, strings.TrimSuffix(prefix, "-")); len(l) == 0 {
			t.Errorf("%s: no warning in the journal", prefix)
		}
	}
}

// Pods that nothing but their processes keep alive: one with more capabilities than
// the unit has, one of another user.
func TestRunRepairsTheDeviceOfAPodWithoutAName(t *testing.T) {
	for who, become := range map[string]string{"privileged": "", "of another user": "setpriv --reuid=65534 --regid=65534 --clear-groups "} {
		t.Run(who, func(t *testing.T) {
			fresh(t)
			must(t, "systemctl", "start", unit)
			pid := namelessPod(t, become)
			must(t, lib+"enroll", strconv.Itoa(pid))
			before := links(t)
			detach(t, "xdpauth-")
			must(t, "systemctl", "reload", unit)
			wait(t, func() error {
				for name, id := range links(t) {
					if strings.HasPrefix(name, "xdpauth-") && before[name] != id {
						return nil
					}
				}
				return fmt.Errorf("not put back: %s", property(t, "StatusText"))
			})
		})
	}
}

// namelessPod returns the process that a network namespace lives by until the test ends.
func namelessPod(t *testing.T, become string) int {
	t.Helper()
	cmd := exec.Command("unshare", "--net", "sh", "-c",
		"ip link add eth0 type veth peer name p && ip link set eth0 up && exec "+become+"sh -c 'echo up; exec sleep infinity'")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	startUntilEnd(t, cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return cmd.Process.Pid
}

func TestConfigurationIsWatched(t *testing.T) {
	fresh(t)
	p := running(t)
	configure(t, "other.json", response(t, service("other", otherIP)))
	wait(t, func() error { return p.reaches(otherIP) })
	if err := os.Remove(configDir + "/other.json"); err != nil {
		t.Fatal(err)
	}
	wait(t, func() error {
		if p.reaches(otherIP) == nil {
			return fmt.Errorf("the service is still there, its file is not")
		}
		return nil
	})
	if err := p.reaches(serviceIP); err != nil {
		t.Errorf("the other file's service: %v", err)
	}
}
