// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// upgraded is a host in either mode whose one service has the same endpoints in both,
// and four processes that connect to it without pause, over both address families.
type upgraded struct {
	*node
	mode    string
	dialers dialers
	configs map[string]string // by mode
	same    string            // another build that does the same
}

// endpoints is where all connections have to go.
var endpoints = []string{at(ip1, 8080), at(ip2, 8080), at(ip1v6, 8080), at(ip2v6, 8080)}

func newUpgraded(t *testing.T, mode string) *upgraded {
	t.Helper()
	n := newNodeOf(t, "")
	u := &upgraded{node: n, mode: mode, configs: map[string]string{
		"ads":      n.write(cds(static("a", endpoints...)), lds(listener(vipA, toCluster("a")), listener(vipA6, toCluster("a")))),
		"workload": n.write(aOf(8080, ip1, ip2, ip1v6, ip2v6)),
	}}
	net := newFabric(t)
	server := net.pod(t)
	server.serveFast(append([]string{vipA, vipA6}, endpoints...)...)
	pods := []*pod{net.pod(t, clientIP, clientIP6), net.pod(t, "10.1.0.2", "fd00:1::2")}
	n.want(exitDone, "--mode", mode, "up", "--config", u.configs[mode])
	for _, p := range pods {
		n.want(exitDone, "--mode", mode, "enroll", "--netns", p.path)
	}
	for i := range 4 {
		u.dialers = append(u.dialers, pods[i%2].dialer(vipA, vipA6))
	}
	u.same = n.equalBuild()
	return u
}

// up is `up` of this build or of another one, "" for this one, in u's mode.
func (u *upgraded) up(build string, flags ...string) result {
	u.t.Helper()
	cmd := u.command(append([]string{"--mode", u.mode, "up"}, flags...)...)
	if build != "" {
		cmd = of(build, cmd)
	}
	return runCommand(u.t, cmd)
}

// change goes over to the other mode.
func (u *upgraded) change() {
	u.t.Helper()
	u.mode = map[string]string{"ads": "workload", "workload": "ads"}[u.mode]
	wantExit(u.t, exitDone, u.up("", "--config", u.configs[u.mode]))
}

// none asks that all of at least so many connections went to the endpoints.
func (u *upgraded) none(missed string, least int) {
	u.t.Helper()
	got := u.dialers.stop()
	u.t.Logf("%d connections%v", got.sum(), got)
	if got.sum() < least {
		u.t.Errorf("only %d connections, %d were wanted", got.sum(), least)
	}
	for _, to := range endpoints {
		delete(got, to)
	}
	if len(got) > 0 {
		u.t.Errorf("%s:%v", missed, got)
	}
}

// leastChanges is how often the mode changes at least while everybody connects; between
// two of them the build does twice.
const leastChanges = 4

func TestUpgradeAndModeChangeMissNoConnection(t *testing.T) {
	u := newUpgraded(t, "ads")
	updates, changes := 0, 0
	for changes < leastChanges || u.dialers.made() < many {
		for _, build := range []string{u.same, ""} {
			r := wantExit(t, exitDone, u.up(build))
			if !strings.Contains(r.err, "up: updated") {
				t.Fatalf("%v\nno update", r)
			}
			updates++
		}
		u.change()
		changes++
	}
	u.none("missed or misrouted", many)
	t.Logf("%d updates and %d changes of mode", updates, changes)
	report(fmt.Sprintf("updates and changes of mode (so many at least) while 4 processes make at least %d connections", many),
		3*leastChanges)
}

// A build that the verifier accepts and that does not work is found before it meets a
// connection of anybody, and what was up stays.
func TestBrokenBuildMeetsNoConnection(t *testing.T) {
	for mode, builds := range map[string]map[string]string{
		"ads":      {"refuse": "sockconn4", "timid": "sockconn4", "misroute": "sockconn6", "idle": "sock_ops", "blind": "sock_state", "mute": "sockconn6"},
		"workload": {"refuse": "sockconn4", "timid": "sockconn4", "misroute": "sockconn6", "idle": "sock_ops", "blind": "xdpauth", "mute": "metadata"},
	} {
		t.Run(mode, func(t *testing.T) {
			u := newUpgraded(t, mode)
			before := u.pinIDs()
			for build, program := range builds {
				r := u.up(brokenBuild(t, build))
				refused(t, exitLoad, r, "self-test", program, "is in place")
				u.asBefore(build, before)
			}
			u.none("missed or misrouted beside broken builds", 1)
		})
	}
}

func TestBrokenBuildOfTheOtherModeMeetsNoConnection(t *testing.T) {
	u := newUpgraded(t, "ads")
	before := u.pinIDs()
	u.mode = "workload"
	for _, build := range []string{"refuse", "misroute"} {
		refused(t, exitLoad, u.up(brokenBuild(t, build), "--config", u.configs["workload"]), "self-test", "mode ads is in place")
		u.asBefore(build, before)
	}
	change := func(fault string) result {
		cmd := u.command("--mode", "workload", "up", "--config", u.configs["workload"])
		cmd.Env = append(os.Environ(), "KMESH_NODE_FAULT="+fault)
		return runCommand(t, cmd)
	}
	if r := change("configure"); r.code != exitLoad {
		t.Errorf("%v\nwant exit %d", r, exitLoad)
	}
	u.asBefore("configure", before)
	bad := u.write(lds(listener(vipA, toCluster("a"))))
	refused(t, exitRejected, u.up("", "--config", bad), "--mode ads")
	u.asBefore("a configuration of ads mode", before)
	for _, fault := range []string{"kill:configure", "kill:selftest#2"} {
		change(fault)
		u.mode = "ads"
		wantExit(t, exitDone, u.up("")) // back
		u.asBefore(fault, before)
		u.mode = "workload"
	}
	u.none("missed or misrouted beside broken builds", 1)
}

// What only fails when it is attached is found then, and the links go back to what they ran.
func TestBuildThatFailsWhenItIsAttachedIsPutBack(t *testing.T) {
	for _, mode := range []string{"ads", "workload"} {
		t.Run(mode, func(t *testing.T) {
			u := newUpgraded(t, mode)
			before := u.pinIDs()
			for _, fault := range []string{"rehearse", "selftest", "selftest#2", "commit"} {
				cmd := of(u.same, u.command("--mode", mode, "up"))
				cmd.Env = append(cmd.Env, "KMESH_NODE_FAULT="+fault)
				if r := runCommand(t, cmd); r.code == exitDone || strings.HasPrefix(fault, "selftest") != strings.Contains(r.err, "is in place") {
					t.Errorf("%v\nwith the fault %s", r, fault)
				}
				u.asBefore(fault, before)
			}
			for _, fault := range []string{"rehearse", "selftest", "selftest#2"} {
				cmd := of(u.same, u.command("--mode", mode, "up"))
				cmd.Env = append(cmd.Env, "KMESH_NODE_FAULT=kill:"+fault)
				runCommand(t, cmd)
				wantExit(t, exitDone, u.up(""))
				u.noScratch()
			}
			u.none("missed or misrouted beside builds that were put back", 1)
		})
	}
}

// asBefore asks that nothing is other than before a build was refused.
func (u *upgraded) asBefore(after string, before map[string]string) {
	u.t.Helper()
	now := u.pinIDs()
	for pin, id := range before {
		if now[pin] != id {
			u.t.Errorf("after %s %s is %s, before it was %s", after, pin, now[pin], id)
		}
	}
	for pin := range now {
		if _, ok := before[pin]; !ok {
			u.t.Errorf("after %s there is %s", after, pin)
		}
	}
	u.noScratch()
}

// noScratch asks that no cgroup of a self-test is left.
func (u *upgraded) noScratch() {
	u.t.Helper()
	entries, err := os.ReadDir(u.cg)
	if err != nil {
		u.t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			u.t.Errorf("cgroup %s is left", e.Name())
		}
	}
}
