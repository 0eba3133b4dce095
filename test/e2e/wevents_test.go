// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// event is one line of `events -o json`, members in their own words.
type event map[string]any

func (e event) has(words ...string) bool {
	data, err := json.Marshal(e)
	if err != nil {
		return false
	}
	for _, w := range words {
		if !strings.Contains(string(data), w) {
			return false
		}
	}
	return true
}

// follower follows what the data plane reports.
type follower struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines chan event
	seen  []event
}

func (m *mesh) follow(args ...string) *follower {
	m.t.Helper()
	f := &follower{t: m.t, cmd: m.command(append([]string{"-o", "json", "events"}, args...)...), lines: make(chan event, 1024)}
	f.cmd.Stderr = m.t.Output()
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		defer close(f.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			e := event{}
			if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
				e["error"] = fmt.Sprintf("%q: %v", scan.Text(), err)
			}
			f.lines <- e
		}
	}()
	m.t.Cleanup(f.stop)
	return f
}

// stop ends it as an operator does; it must end well.
func (f *follower) stop() {
	if f.cmd.ProcessState != nil {
		return
	}
	kill := time.AfterFunc(patience, func() {
		if err := f.cmd.Process.Kill(); err != nil {
			f.t.Error(err)
		}
	})
	defer kill.Stop()
	if err := f.cmd.Process.Signal(unix.SIGTERM); err != nil {
		f.t.Error(err)
	}
	for e := range f.lines {
		f.seen = append(f.seen, e)
	}
	if err := f.cmd.Wait(); err != nil {
		f.t.Errorf("events: %v", err)
	}
}

// want waits for an event that has these words, and returns it.
func (f *follower) want(words ...string) event {
	f.t.Helper()
	for _, e := range f.seen {
		if e.has(words...) {
			return e
		}
	}
	end := time.After(patience)
	for {
		select {
		case e, ok := <-f.lines:
			if !ok {
				f.t.Fatal("events ended")
			}
			f.seen = append(f.seen, e)
			if e.has(words...) {
				return e
			}
		case <-end:
			f.t.Fatalf("no event has %q: %v", words, f.seen)
		}
	}
}

// awake waits until events come: the command takes its time to begin.
func (f *follower) awake(do func()) {
	f.t.Helper()
	end := time.Now().Add(patience)
	for time.Now().Before(end) {
		do()
		select {
		case e := <-f.lines:
			f.seen = append(f.seen, e)
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
	f.t.Fatal("no event came")
}

func TestEventsFollowConnections(t *testing.T) {
	m, c := lane(t)
	m.apply(wds(serviceA(), a1(), wsvc("b", vips("10.96.0.2"), wport(80, 1)), wpod("b1", ip2, serves("b", wport(80, 1))),
		wpod("p", serverIP)), policies(policy("closed", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{7000}))))
	server := m.enrolled(serverIP)
	server.serve(at(serverIP, 7000))
	stranger := m.pod("10.1.0.8").client(0)

	f := m.follow()
	f.awake(func() { c.reach(at(ip3, 9090)) })

	wantReach(t, c, vipA, at(ip1, 8080))
	f.want("opened", at(ip1, 8080), "10.96.0.1", hostOf("a"))
	closed := f.want("closed", at(ip1, 8080), hostOf("a"))
	if !closed.has(`"received":14`) { // the server's word, 10.2.0.1:8080, and the end of its line
		t.Errorf("bytes that were received: %v", closed)
	}
	for _, member := range []string{"sent", "received", "duration", "rtt"} {
		if !closed.has(`"` + member) {
			t.Errorf("closed has no %s: %v", member, closed)
		}
	}
	if got := c.reach(vipB); got != refusal {
		t.Errorf("a connection to nobody: %s", got)
	}
	f.want("refused", at(ip2, 1), hostOf("b"))
	if !denied(stranger, at(serverIP, 7000)) {
		t.Error("a denied connection was let in")
	}
	f.want("denied", "ns/closed", serverIP, "10.1.0.8")
	f.stop()
}

// Of two readers each would get some: the second is told so.
func TestSecondReaderOfEventsIsRefused(t *testing.T) {
	m, c := lane(t)
	f := m.follow()
	f.awake(func() { c.reach(vipA) })
	refused(t, exitLocked, m.run("events"), "events")
	f.stop()
	again := m.follow()
	again.awake(func() { c.reach(vipA) })
}

// A reader that was killed costs nothing soon: programs see that nobody reads.
func TestKilledReaderOfEventsIsForgotten(t *testing.T) {
	m, c := lane(t)
	f := m.follow()
	f.awake(func() { c.reach(vipA) })
	if err := f.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range f.lines {
	}
	if err := f.cmd.Wait(); err == nil {
		t.Error("a killed reader ended well")
	}
	again := m.follow()
	again.awake(func() { c.reach(vipA) })
}

// What a limit keeps back is counted, and nothing is missing in between.
func TestEventsOverTheRateAreCounted(t *testing.T) {
	m, c := lane(t)
	f := m.follow("--rate", "3")
	f.awake(func() { c.reach(vipA) })
	const more = 50
	wantSpread(t, c, vipA, counts{vipA: more})
	f.want(`"type":"dropped"`, `"dropped":`)
	f.stop()
	shown, dropped := 0.0, 0.0
	for _, e := range f.seen {
		switch n, told := e["dropped"].(float64); {
		case told:
			dropped += n
		case e["type"] == "opened":
			shown++
		}
	}
	if dropped < more/2 || shown+dropped < more {
		t.Errorf("of more than %d connections %v opened are shown, and %v events were left out", more, shown, dropped)
	}
}

// Who follows has the lock, and programs report: neither is for nobody.
func TestEventsEndWhenNobodyTakesThem(t *testing.T) {
	m, c := lane(t)
	start := func() (cmd *exec.Cmd, out *os.File, ended chan error) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
			t.Fatal(err)
		}
		cmd = m.command("-o", "json", "events")
		cmd.Stdout, cmd.Stderr = w, t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		ended = make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		return cmd, r, ended
	}
	ends := func(cmd *exec.Cmd, ended chan error) {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("events goes on")
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			<-ended
		}
	}

	gone, out, ended := start()
	if err := out.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	go func() { // the command takes its time to begin
		defer close(stop)
		for scan := bufio.NewScanner(out); scan.Scan() && !strings.Contains(scan.Text(), `"closed"`); {
		}
	}()
	for waits := true; waits; {
		c.reach(vipA)
		select {
		case <-stop:
			waits = false
		case <-time.After(200 * time.Millisecond):
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	ends(gone, ended)

	full, out, ended := start()
	if err := eventually(func() error {
		c.reach(vipA)
		n, err := unix.IoctlGetInt(int(out.Fd()), unix.TIOCINQ)
		if err == nil && n == 0 {
			err = errors.New("events prints nothing")
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	for range 50 { // more than the pipe has room for
		c.reach(vipA)
	}
	if err := full.Process.Signal(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	ends(full, ended)
	if err := out.Close(); err != nil {
		t.Error(err)
	}
}
