// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"
)

// One `up` takes the host from one mode to the other; who is enrolled stays so, and
// no connection is lost: it is redirected, or goes as asked.
func TestModeChangeUnderTraffic(t *testing.T) {
	n := newNodeOf(t, "")
	net := newFabric(t)
	p := net.pod(t)
	p.serveFast(vipA, at(ip1, 8080), at(ip2, 8080))
	pod := net.pod(t, clientIP)
	c := pod.client(0)
	server := net.pod(t, serverIP)
	server.serveFast(at(serverIP, 7000))
	stranger := net.pod(t, "10.1.0.8").client(0)
	ads := n.write(cds(static("a", at(ip2, 8080))), lds(listener(vipA, toCluster("a"))))
	workload := n.write(wds(serviceA(), a1(), wpod("p", serverIP)), denyAll())

	n.want(exitDone, "--mode", "ads", "up")
	n.enroll(pod)
	n.enroll(server)
	n.want(exitDone, "apply", "-f", ads)
	wantSpread(t, c, vipA, counts{at(ip2, 8080): 10})
	got := make(chan counts)
	go func() { got <- c.spread(vipA, lot) }()
	changes := 0
	for {
		n.want(exitDone, "up") // workload mode is the default
		n.want(exitDone, "apply", "-f", workload)
		if !denied(stranger, at(serverIP, 7000)) {
			t.Error("workload mode does not judge a pod that was enrolled in ads mode")
		}
		n.want(exitDone, "--mode", "ads", "up")
		n.want(exitDone, "apply", "-f", ads)
		if denied(stranger, at(serverIP, 7000)) {
			t.Error("ads mode still judges")
		}
		changes++
		select {
		case all := <-got:
			t.Logf("%d mode changes beside %d connections:%v", 2*changes, lot, all)
			wantOnly(t, all, at(ip1, 8080), at(ip2, 8080), vipA)
			n.want(exitDone, "up")
			n.want(exitDone, "apply", "-f", workload)
			wantSpread(t, c, vipA, counts{at(ip1, 8080): 10})
			n.wantOneMode("workload")
			return
		default:
		}
	}
}

// A mode change that fails leaves the mode that is up as it is.
func TestFailedModeChangeLeavesTheOldMode(t *testing.T) {
	n := newNodeOf(t, "")
	net := newFabric(t)
	net.pod(t).serve(vipA, at(ip2, 8080))
	pod := net.pod(t, clientIP)
	n.want(exitDone, "--mode", "ads", "up")
	n.enroll(pod)
	n.apply(cds(static("a", at(ip2, 8080))), lds(listener(vipA, toCluster("a"))))
	before := n.pinIDs()
	for _, step := range steps {
		if r := runFault(t, n, step); r.code == exitDone {
			t.Errorf("%v\nwith the fault %s", r, step)
		}
		if after := n.pinIDs(); !maps.Equal(before, after) {
			t.Errorf("pins before and after a failure at %s:\n%v\n%v", step, before, after)
		}
		wantReach(t, pod.client(0), vipA, at(ip2, 8080))
	}
	for _, step := range steps {
		runFault(t, n, "kill:"+step)
		wantReach(t, pod.client(0), vipA, at(ip2, 8080))
		n.want(exitDone, "--mode", "ads", "up") // back
		n.wantOneMode("ads")
		wantReach(t, pod.client(0), vipA, at(ip2, 8080))
	}
}

func TestKilledEnrolmentIsMadeWholeByTheNext(t *testing.T) {
	j := newJudged(t)
	for i := range 12 {
		verb := []string{"enroll", "unenroll"}[i%2]
		cmd := j.command(verb, "--netns", j.server.path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(12)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Logf("%s was done before it was killed", verb)
		}
		if i%4 < 2 {
			j.up() // makes whole what is half enrolled, and forgets what is half released
		}
		j.enroll(j.server)
		j.wantWhole(verb + " killed, then enroll")
		if got := j.nicLinks(j.server.cookie()); len(got) != 1 {
			t.Errorf("links on the NIC: %v", got)
		}
	}
	j.want(exitDone, "unenroll", "--netns", j.server.path)
	if denied(j.stranger, at(serverIP, 7000)) {
		t.Error("a pod that was released is still judged")
	}
}

// Whoever calls at the same moment, each command does what it is for.
func TestWorkloadCommandsAtOnce(t *testing.T) {
	j := newJudged(t)
	guest := j.pod("10.3.9.9")
	other := j.write(wds(serviceA(), a1(), wpod("p", serverIP), wpod("z", "10.9.9.9")))
	done := make(chan []result)
	loop := func(n int, commands ...[]string) {
		go func() {
			var failed []result
			for i := range n {
				if r := runCommand(t, j.command(commands[i%len(commands)]...)); r.code != exitDone {
					failed = append(failed, r)
				}
			}
			done <- failed
		}()
	}
	loop(16, []string{"enroll", "--netns", guest.path}, []string{"unenroll", "--netns", guest.path})
	loop(16, []string{"apply", "-f", other}, []string{"apply", "-f", j.config})
	loop(8, []string{"up", "--flow-entries", "4096"}, []string{"up", "--flow-entries", "65536"})
	loop(16, []string{"get", "services"}, []string{"status"}, []string{"get", "enrolled"})
	for range 4 {
		for _, r := range <-done {
			t.Error(r)
		}
	}
	j.want(exitDone, "apply", "-f", j.config)
	j.wantWhole("after all")
}

func TestWorkloadRunStaysAndOthersWorkBesideIt(t *testing.T) {
	m := &mesh{newNodeOf(t, "workload"), newFabric(t)}
	m.backends()
	daemon := m.background("run")
	if err := eventually(func() error { return wantUp(m.node) }); err != nil {
		t.Fatal(err)
	}
	c := m.enrolled(clientIP).client(0)
	m.apply(wds(serviceA(), a1()))
	wantReach(t, c, vipA, at(ip1, 8080))
	m.up() // the same build: nothing to do
	refused(t, exitLocked, m.run("down"), fmt.Sprint(daemon.Process.Pid))
	refused(t, exitLocked, m.run("--mode", "ads", "up"), fmt.Sprint(daemon.Process.Pid))
	wantReach(t, c, vipA, at(ip1, 8080))
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Wait(); err == nil {
		t.Error("a killed kmesh-node ended well")
	}
	wantReach(t, c, vipA, at(ip1, 8080))
}

func TestExampleOfWorkloadModeIsTaken(t *testing.T) {
	m := newMesh(t)
	m.want(exitDone, "apply", "-f", repoFile(t, "example", "workload"))
	for _, kind := range []string{"services", "workloads", "policies"} {
		var list []any
		if m.query(&list, "get", kind); len(list) == 0 {
			t.Errorf("the example has no %s", kind)
		}
	}
}
