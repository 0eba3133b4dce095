// SPDX-License-Identifier: Apache-2.0

package e2e

import (
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
	fd, err := openPin(pin)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := linkDetach(fd); err != nil {
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
