// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lockNames runs up and returns the names of the lock files that it took.
func lockNames(n *node) []string {
	n.t.Helper()
	if err := os.MkdirAll("/run/kmesh-node", 0o700); err != nil {
		n.t.Fatal(err)
	}
	// The directory must stay, for that it is watched.
	keep := "/run/kmesh-node/keep"
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		n.t.Fatal(err)
	}
	defer os.Remove(keep)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		n.t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(keep), unix.IN_CREATE); err != nil {
		n.t.Fatal(err)
	}
	n.up()
	buf := make([]byte, 1<<16)
	k, err := unix.Read(fd, buf)
	if err != nil {
		n.t.Fatalf("up made no lock file: %v", err)
	}
	var names []string
	for buf = buf[:k]; len(buf) >= unix.SizeofInotifyEvent; {
		size := int(binary.NativeEndian.Uint32(buf[unix.SizeofInotifyEvent-4:]))
		name := string(bytes.TrimRight(buf[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size], "\x00"))
		if strings.HasSuffix(name, ".lock") && !strings.HasPrefix(name, "store-") {
			names = append(names, name)
		}
		buf = buf[unix.SizeofInotifyEvent+size:]
	}
	if len(names) == 0 {
		n.t.Fatal("up made no lock file")
	}
	return names
}

// takeLocks holds lock files until the test calls release.
func takeLocks(t *testing.T, paths ...string) (release func()) {
	t.Helper()
	var fds []int
	for _, path := range paths {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		if err != nil {
			t.Fatalf("open lock %s: %v", path, err)
		}
		if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Fatalf("take lock %s: %v", path, err)
		}
		fds = append(fds, fd)
	}
	return func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

func TestSecondUpIsRefusedWhileAnotherHoldsTheLock(t *testing.T) {
	n := newNode(t)
	var paths []string
	for _, name := range lockNames(n) {
		paths = append(paths, filepath.Join("/run/kmesh-node", name))
	}
	release := takeLocks(t, paths...)
	defer release()
	before := n.pinIDs()
	for _, verb := range []string{"up", "run", "down"} {
		refused(t, exitLocked, n.run(verb), "lock")
	}
	if after := n.pinIDs(); !maps.Equal(before, after) {
		t.Errorf("pins before and after what was refused:\n%v\n%v", before, after)
	}
}

func TestOfManyUpsAtOnceEachSucceedsOrExits15(t *testing.T) {
	n := newNode(t)
	seen := map[int]int{}
	for round := 0; round < 20 && (seen[exitLocked] == 0 || seen[exitDone] == 0); round++ {
		var wg sync.WaitGroup
		results := make([]result, 4)
		cmds := make([]*exec.Cmd, len(results))
		for i := range cmds {
			cmds[i] = n.command("up")
			wg.Go(func() { results[i] = runCommand(t, cmds[i]) })
		}
		wg.Wait()
		for _, r := range results {
			seen[r.code]++
			if r.code == exitLocked {
				refused(t, exitLocked, r, "lock")
			} else if r.code != exitDone {
				t.Errorf("one of several up: %v", r)
			}
		}
		if err := wantUp(n); err != nil {
			t.Errorf("after several up: %v", err)
		}
		n.want(exitDone, "down")
	}
	if seen[exitLocked] == 0 || seen[exitDone] == 0 {
		t.Errorf("exit codes of up, several at once: %v", seen)
	}
}

func TestWriterWaitsForTheLockThenExits15(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	locks, err := filepath.Glob("/run/kmesh-node/store-*.lock")
	if err != nil || len(locks) == 0 {
		t.Fatalf("lock of the store: %v, %v", locks, err)
	}
	release := takeLocks(t, locks...)
	next := n.write(cds(static("a", epA2)))
	refused(t, exitLocked, n.run("apply", "--lock-timeout", "100ms", "-f", next), "lock")
	wantReach(t, c, service, epA1)
	// One that is allowed to wait goes on when the lock is free.
	cmd := n.command("apply", "-f", next)
	done := make(chan result)
	go func() { done <- runCommand(t, cmd) }()
	time.Sleep(50 * time.Millisecond)
	release()
	wantExit(t, exitDone, <-done)
	wantReach(t, c, service, epA2)
}
