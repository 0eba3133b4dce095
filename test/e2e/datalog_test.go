// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// setLevel changes the level of the data plane's log of a live run.
func setLevel(t *testing.T, a *adminEnd, level string) {
	t.Helper()
	if code, body := a.ask("PUT", "/debug/loglevel?dataplane="+level); code != 200 {
		t.Fatalf("level %s: %d %s", level, code, body)
	}
}

// pollers is how many things a process waits at by epoll: one more while it reads a ring.
func pollers(t *testing.T, s *daemon) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.Contains(to, "[eventpoll]") {
			n++
		}
	}
	return n
}

// wantTold has what do does told of at a level, and nothing of what is in none.
func (s *daemon) wantTold(do func(), none []string, words ...string) {
	s.t.Helper()
	from := len(s.said())
	do()
	if err := eventually(func() error {
		for _, w := range words {
			if !strings.Contains(s.said()[from:], w) {
				return fmt.Errorf("%q is not told", w)
			}
		}
		return nil
	}); err != nil {
		s.t.Errorf("%v:\n%s", err, s.said()[from:])
	}
	for _, w := range none {
		if strings.Contains(s.said()[from:], w) {
			s.t.Errorf("%q is told", w)
		}
	}
}

// Off nothing is told, and nobody reads; each level tells its own.
func TestTheDataPlanesLogInAdsMode(t *testing.T) {
	n, p, c := ward(t)
	s, a := n.in(t).serveAdmin()
	n.apply(cds(static("a", epA1), static("empty"), static("six", six1)),
		lds(listener(service, toCluster("a")), listener(service6, toCluster("six")), listener(bad1, toCluster("empty"))))
	idle := pollers(t, s)
	wantReach(t, c, service, epA1)
	setLevel(t, a, "info")
	if n := pollers(t, s); n != idle+1 {
		t.Errorf("%d pollers while the log is on, %d while it is off", n, idle)
	}
	sent := "connect to " + service + ": sent to " + epA1 + " of cluster a"
	s.wantTold(func() { wantReach(t, c, service6, six1) }, []string{sent}, "connect to "+service6+": sent to "+six1+" of cluster six", fmt.Sprintf("netns=%d", p.cookie()))
	nothing, empty := "connect to "+epB1+": left alone: nothing is configured for it", "connect to "+bad1+": left alone: cluster empty has no endpoint for it"
	s.wantTold(func() { wantReach(t, c, epB1, epB1); c.reach(bad1); wantReach(t, c, service, epA1) }, []string{nothing}, empty, sent)
	setLevel(t, a, "debug")
	s.wantTold(func() { wantReach(t, c, epB1, epB1) }, nil, nothing)
	setLevel(t, a, "error")
	s.wantTold(func() { wantReach(t, c, service, epA1); c.reach(bad1) }, []string{sent}, empty)
	setLevel(t, a, "off")
	if n := pollers(t, s); n != idle {
		t.Errorf("%d pollers after the log, %d before it", n, idle)
	}
	setLevel(t, a, "info")
	s.stop(exitDone)
	if l, until := n.watched(levelAt), n.watched(levelUntilAt); l != 0 || until != 0 {
		t.Errorf("the level after run has ended: %d until %d", l, until)
	}
}

// The level lasts longer than what is asked for at a time, and not much longer than who reads.
func TestTheDataPlanesLogEndsWithARunThatIsKilled(t *testing.T) {
	n, _, c := ward(t)
	s := n.in(t).serve("--data-log-level", "debug")
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	time.Sleep(lease + time.Second)
	s.wantTold(func() { wantReach(t, c, service, epA1) }, nil, "connect to "+service+": sent to "+epA1+" of cluster a")
	s.signal(unix.SIGKILL)
	s.ended(-1)
	before := n.logged()
	wantReach(t, c, service, epA1)
	if n.logged() == before {
		t.Error("nobody is there who reads, and the level is off at once")
	}
	time.Sleep(lease)
	before = n.logged()
	wantReach(t, c, service, epA1)
	if after := n.logged(); after != before {
		t.Errorf("%v after the run was killed its level is in force: %d bytes more", lease, after-before)
	}
	if l, until := n.watched(levelAt), n.watched(levelUntilAt); l != 3 || until != 0 {
		t.Errorf("the level is %d until %d: each connect reads the clock for that", l, until)
	}
	s = n.serve("--data-log-level", "info")
	s.wantTold(func() { wantReach(t, c, service, epA1) }, nil, "connect to "+service+": sent to "+epA1+" of cluster a")
}

// Each turn prolongs it, the end of run ends it, and one that is killed leaves minutes.
func TestServiceCountersLastAsLongAsTheRun(t *testing.T) {
	m, _ := lane(t)
	n := m.in(t)
	s := n.serve("--service-counters", "on", "--reconcile-interval", "200ms")
	first := n.watched(countUntilAt)
	if first == 0 {
		t.Error("nothing is counted")
	}
	becomes(t, "prolonged", func() bool { return n.watched(countUntilAt) > first })
	s.stop(exitDone)
	if until := n.watched(countUntilAt); until != 0 {
		t.Errorf("after run has ended it is counted until %d", until)
	}
	s = n.serve("--service-counters", "on")
	s.signal(unix.SIGKILL)
	s.ended(-1)
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	if left := time.Duration(int64(n.watched(countUntilAt)) - now.Nano()); left <= 0 || left > 5*time.Minute {
		t.Errorf("after run was killed it is counted for %v", left)
	}
}

func TestTheDataPlanesLogInWorkloadMode(t *testing.T) {
	m, c := lane(t)
	s := m.in(t).serve("--data-log-level", "debug")
	m.apply(wds(serviceA(), a1(), wsvc("empty", vips("10.96.0.2"), wport(80, 1)), wpod("p", serverIP)),
		policies(policy("closed", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{7000}))))
	server := m.enrolled(serverIP)
	server.serve(at(serverIP, 7000))
	stranger := m.pod("10.1.0.8").client(0)
	s.wantTold(func() {
		wantReach(t, c, vipA, at(ip1, 8080))
		wantReach(t, c, vipB, vipB)
		c.reach(at(ip3, 9090))
		if !denied(stranger, at(serverIP, 7000)) {
			t.Error("a denied connection was let in")
		}
	}, nil, "connect to "+vipA+": sent to "+at(ip1, 8080)+" of service "+keyOf("a"),
		"connect to "+vipB+": left alone: service "+keyOf("empty")+" has no endpoint for it",
		"connect to "+at(ip3, 9090)+": left alone: nothing is configured for it",
		"to "+at(serverIP, 7000)+": denied: policy ns/closed",
		"connect to "+at(serverIP, 7000)+": left alone: its network namespace is not enrolled")
}

// lease is how long a level lasts without its reader.
const lease = 3 * time.Second

// Words of km_watch.
const (
	levelAt      = 0
	levelUntilAt = 2
	countUntilAt = 3
)

// anyMode is the pin of a map that each mode has, in the one that is up.
func (n *node) anyMode(name string) string {
	n.t.Helper()
	l, err := filepath.Glob(filepath.Join(n.bpf, "kmesh_node", "*", "map", name))
	if err != nil || len(l) != 1 {
		n.t.Fatalf("%s is pinned at %v: %v", name, l, err)
	}
	return l[0]
}

// watched is a word of km_watch.
func (n *node) watched(word int) uint64 {
	n.t.Helper()
	value := make([]byte, 64)
	if err := mapElem(n.anyMode("km_watch"), unix.BPF_MAP_LOOKUP_ELEM, make([]byte, 4), value); err != nil {
		n.t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(value[8*word:])
}

// logged is how many bytes programs have written into km_log, ever: the position that the
// kernel keeps in the second page of a ring.
func (n *node) logged() uint64 {
	n.t.Helper()
	fd, err := openPin(n.anyMode("km_log"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer unix.Close(fd)
	page := os.Getpagesize()
	mem, err := unix.Mmap(fd, int64(page), page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		n.t.Fatal(err)
	}
	position := binary.NativeEndian.Uint64(mem)
	if err := unix.Munmap(mem); err != nil {
		n.t.Fatal(err)
	}
	return position
}

// However many lines there are, those of the process stay few, and it is told how many are
// not among them: of the moment before the end, too.
func TestLinesOfTheDataPlanesLogAreLimited(t *testing.T) {
	n, _, c := site(t)
	s := n.in(t).serve("--data-log-level", "info")
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	s.wantTold(func() { c.spread(service, 1500) }, nil, "lines of the data plane's log left out: more than 200 a second")
	c.spread(service, 1500)
	s.stop(exitDone)
	told := strings.Count(s.said(), "connect to "+service+": sent to")
	for _, m := range regexp.MustCompile(`(\d+) lines of the data plane's log (left out|lost)`).FindAllStringSubmatch(s.said(), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		told += n
	}
	if told != 3000 {
		t.Errorf("of 3000 connects %d are in the log or told of as left out", told)
	}
}
