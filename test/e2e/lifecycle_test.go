// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDownLeavesTheHostAsItWas(t *testing.T) {
	n := newNode(t)
	p := newPod(t)
	p.serve(service, epA1)
	before, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	n.up()
	n.enroll(p)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	c := p.client(0)
	wantReach(t, c, service, epA1)
	n.want(exitDone, "down")
	if err := before.unchanged(); err != nil {
		t.Errorf("after down:\n%v", err)
	}
	wantReach(t, c, service, service)
	n.want(exitDone, "down") // again
	if err := before.unchanged(); err != nil {
		t.Errorf("after down again:\n%v", err)
	}
}

func TestUpMountsWhatIsMissingAndDownUnmountsIt(t *testing.T) {
	n := newNode(t)
	p := newPod(t)
	p.serve(service, epA1)
	before, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	bare := func(args ...string) result {
		return runCommand(t, exec.Command(n.bin, append([]string{"--mode", "ads"}, args...)...))
	}
	t.Cleanup(func() { wantExit(t, exitDone, bare("down")) })
	wantExit(t, exitDone, bare("up"))
	for path, magic := range map[string]int64{"/sys/fs/bpf": unix.BPF_FS_MAGIC, "/mnt/kmesh_cgroup2": unix.CGROUP2_SUPER_MAGIC} {
		var fs unix.Statfs_t
		if err := unix.Statfs(path, &fs); err != nil || fs.Type != magic {
			t.Errorf("%s after up: %v, type %#x", path, err, fs.Type)
		}
	}
	wantExit(t, exitDone, bare("up")) // again: mounts nothing twice
	wantExit(t, exitDone, bare("enroll", "--netns", p.path))
	wantExit(t, exitDone, bare("apply", "-f", n.write(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))))
	wantReach(t, p.client(0), service, epA1)
	wantExit(t, exitDone, bare("down"))
	if err := before.unchanged(); err != nil {
		t.Errorf("after down:\n%v", err)
	}
}

func TestUpAgainChangesNothing(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	before := n.pinIDs()
	n.up()
	if after := n.pinIDs(); !maps.Equal(before, after) {
		t.Errorf("pins before and after another up:\n%v\n%v", before, after)
	}
	wantReach(t, c, service, epA1)
}

func TestKillOfEverythingLeavesTrafficAndUpAdopts(t *testing.T) {
	n := newNode(t)
	daemon := n.background("run")
	if err := eventually(func() error { return wantUp(n) }); err != nil {
		t.Fatal(err)
	}
	p := newPod(t)
	p.serveFast(service, epA1)
	n.enroll(p)
	c := p.client(0)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	w := n.pusher()
	w.say("loop", n.batch(ownCluster("b", epB1)), n.batch(ownCluster("b", epB2)))
	before := n.pinIDs()

	traffic := make(chan counts)
	go func() { traffic <- c.spread(service, 50_000) }()
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	daemon.Wait()
	w.kill()
	n.up()
	if after := n.pinIDs(); !maps.Equal(before, after) {
		t.Errorf("pins before the kill and after up:\n%v\n%v", before, after)
	}
	if got := <-traffic; !maps.Equal(got, counts{epA1: 50_000}) {
		t.Errorf("connections while everything was killed and came up again:%v", got)
	}
	n.apply(cds(static("a", epA2)))
	p.serveFast(epA2)
	wantSpread(t, c, service, counts{epA2: 10})
}

// wantUp returns nil when status says that kmesh-node is up.
func wantUp(n *node) error {
	if r := n.run("status"); r.code != exitDone {
		return &statusError{r}
	}
	return nil
}

type statusError struct{ r result }

func (e *statusError) Error() string { return e.r.String() }

func TestUpRepairsWhatAKilledUpLeft(t *testing.T) {
	n := newNode(t)
	p := newPod(t)
	p.serve(service, epA1)
	c := p.client(0)
	docs := n.write(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	for range 12 {
		cmd := n.command("up")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		n.up()
		n.enroll(p)
		n.want(exitDone, "apply", "-f", docs)
		wantReach(t, c, service, epA1)
		n.want(exitDone, "down")
		wantReach(t, c, service, service)
	}
}

func TestUpRepairsMissingPins(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	for pin := range n.pinIDs() {
		if strings.Contains(pin, "/link/") {
			if err := os.Remove(filepath.Join(n.bpf, pin)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A link lives as long as its pin.
	if err := eventually(func() error {
		if got := c.reach(service); got != service {
			return &statusError{result{out: got}}
		}
		return nil
	}); err != nil {
		t.Errorf("without links: %v", err)
	}
	n.up()
	wantReach(t, c, service, epA1)
}

func TestDownLeavesWhatOthersPinned(t *testing.T) {
	n := upNode(t)
	stranger := filepath.Join(n.bpf, "stranger")
	if err := os.Mkdir(stranger, 0o755); err != nil {
		t.Fatal(err)
	}
	n.want(exitDone, "down")
	if left := n.pins(); len(left) != 1 || left[0] != "stranger" {
		t.Errorf("after down there is %v, want the stranger's directory alone", left)
	}
	if err := os.Remove(stranger); err != nil {
		t.Error(err)
	}
}
