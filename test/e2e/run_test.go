// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// everySoon makes turns come one after the other.
const everySoon = "--reconcile-interval=100ms"

func TestRunTellsTheServiceManager(t *testing.T) {
	for _, mode := range []string{"ads", "workload"} {
		t.Run(mode, func(t *testing.T) {
			n := newNodeOf(t, mode)
			t.Setenv("WATCHDOG_USEC", "200000")
			s := n.serve()
			s.status(0, "mode "+mode, "generation 1", "programs", "links", "maps", "0 namespaces enrolled")
			_, at := s.hear(0, "EXTEND_TIMEOUT_USEC=", "READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1")
			for _, word := range s.all()[:at] {
				if strings.HasPrefix(word, "RELOADING") || strings.HasPrefix(word, "STOPPING") {
					t.Errorf("the manager heard %s", word)
				}
			}
			p := newPod(t)
			n.enroll(p)
			s.status(at, "1 namespaces enrolled")
			for range 2 {
				at = s.now()
				s.signal(unix.SIGHUP)
				_, at = s.hear(at, "RELOADING=1", "MONOTONIC_USEC=", "READY=1", "STATUS=")
			}
			s.stop(exitDone)
			s.hear(at, "STOPPING=1")
			if err := wantUp(n); err != nil {
				t.Errorf("after run: %v", err)
			}
		})
	}
}

// detach takes a program off its hook, as a stranger may.
func detach(t testing.TB, pin string) {
	t.Helper()
	if err := detachLink(pin); err != nil {
		t.Fatal(err)
	}
}

func TestRunPutsBackWhatAStrangerRemoved(t *testing.T) {
	n := newNode(t)
	s := n.serve(everySoon)
	p := newPod(t)
	p.serveFast(service, epA1)
	n.enroll(p)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	c := p.client(0)
	wantSpread(t, c, service, counts{epA1: 10})

	// Without its pin a link of a live run works on: nothing is missed.
	traffic := make(chan counts)
	go func() { traffic <- c.spread(service, 20_000) }()
	for _, link := range []string{"sockconn4", "sock_ops"} {
		if err := os.Remove(filepath.Join(n.bpf, "kmesh_node", "ads", "link", link)); err != nil {
			t.Fatal(err)
		}
		s.logged("repaired: pinned again: ", link)
	}
	if got := <-traffic; len(got) != 1 || got[epA1] != 20_000 {
		t.Errorf("connections while pins went and came:%v", got)
	}

	// One that is detached is not there until the next turn; no connection fails.
	go func() { traffic <- c.spread(service, 20_000) }()
	detach(t, filepath.Join(n.bpf, "kmesh_node", "ads", "link", "sockconn4"))
	s.logged("level=warning", "repaired: attached: sockconn4")
	if got := <-traffic; got[epA1]+got[service] != 20_000 {
		t.Errorf("connections while a link went and came:%v", got)
	}
	wantSpread(t, c, service, counts{epA1: 10})
}

func TestRunIsTheOnlyOne(t *testing.T) {
	n := newNode(t)
	address := "--admin-address=unix:" + filepath.Join(t.TempDir(), "s")
	s := n.serve(everySoon, address)
	refused(t, exitLocked, n.run("run"), "run", "pid")
	refused(t, exitLocked, n.run("run", address), "run", "pid")
	refused(t, exitLocked, n.run("down"), "pid")
	refused(t, exitLocked, n.run("--mode", "workload", "up"), "pid")
	detach(t, filepath.Join(n.bpf, "kmesh_node", "ads", "link", "sockconn4"))
	s.logged("repaired: attached: sockconn4")
	// After a repair, too.
	refused(t, exitLocked, n.run("run"), "run", "pid")
	before := n.pinIDs()
	n.up()
	if after := n.pinIDs(); !maps.Equal(before, after) {
		t.Errorf("pins before and after an up beside run:\n%v\n%v", before, after)
	}
	s.stop(exitDone)
	n.serve().stop(exitDone)
}

func TestRunForgetsANamespaceThatIsGone(t *testing.T) {
	for _, mode := range []string{"ads", "workload"} {
		t.Run(mode, func(t *testing.T) {
			n := newNodeOf(t, mode)
			s := n.serve(everySoon)
			t.Run("pod", func(t *testing.T) {
				n.in(t).enroll(newPod(t))
				s.status(0, "1 namespaces enrolled")
			}) // the pod goes with it
			s.logged("level=warning", "repaired: ", "is gone")
			at := s.now()
			s.signal(unix.SIGHUP)
			s.hear(at, "READY=1", "STATUS=mode "+mode)
			s.status(at, "0 namespaces enrolled")
		})
	}
}

func TestRunReportsWhatItCannotRepairAndGoesOn(t *testing.T) {
	n := newNode(t)
	s := n.serve(everySoon)
	link := filepath.Join(n.bpf, "kmesh_node", "ads", "link", "sockconn4")
	for _, err := range []error{os.Remove(link), os.Mkdir(link, 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	at := s.now()
	s.logged("level=error", "could not be repaired", link)
	s.status(at, "cannot repair", link)
	s.hear(s.now(), "WATCHDOG=1", "WATCHDOG=1")
	if n := strings.Count(s.said(), "could not be repaired"); n != 1 {
		t.Errorf("said %d times", n)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	s.logged("repaired: pinned again", "all is as it should be again")
	s.stop(exitDone)
}

// A signal during the start ends it: what was there is there.
func TestASignalDuringTheStartOfRunEndsIt(t *testing.T) {
	n := newNode(t)
	clean, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT} {
		s := n.launch()
		s.hear(0, "STATUS=starting")
		s.signal(sig)
		s.ended(exitDone)
		n.want(exitDone, "down") // it may have been over by then
		if err := clean.unchanged(); err != nil {
			t.Errorf("after %v:\n%v", sig, err)
		}
	}
	s := n.launch()
	s.hear(0, "STATUS=starting")
	s.signal(unix.SIGHUP)
	s.hear(0, "READY=1", "RELOADING=1", "READY=1")
	s.stop(exitDone)
}

// A link that a stranger detaches between the start of run and its self-test is attached
// anew, and run goes on.
func TestRunPutsBackWhatGoesBeforeItsSelfTest(t *testing.T) {
	n := newNode(t)
	n.up()
	link := filepath.Join(n.bpf, "kmesh_node", "ads", "link", "sockconn4")
	m := newManager(t)
	cmd := n.command("run")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.socket)
	detached := false
	in := injector{call: "mkdir " + stable(filepath.Join(n.cg, "kmesh-selftest-")), every: true, instead: func() error {
		if detached {
			return nil
		}
		detached = true
		return detachLink(link)
	}}
	ended := make(chan result, 1)
	go func() { ended <- in.run(t, cmd) }()
	m.hear(0, "READY=1")
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r := wantExit(t, exitDone, <-ended)
	if !detached || !strings.Contains(r.err, "repaired: attached: sockconn4") {
		t.Errorf("%v\ndoes not tell of the repair (detached: %v)", r, detached)
	}
	if err := wantUp(n); err != nil {
		t.Error(err)
	}
}
