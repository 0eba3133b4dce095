// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Who only asks whether a lock is held does not hold it.
func TestAskingForALockKeepsNobodyOut(t *testing.T) {
	dir, stop, done := t.TempDir(), make(chan struct{}), make(chan error)
	t.Cleanup(func() {
		close(stop)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	// A file that is there before and after, as that of a holder which was killed.
	asked, err := unix.Open(filepath.Join(dir, "l"), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = unix.Close(asked)
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		var err error
		for err == nil {
			select {
			case <-stop:
				done <- nil
				return
			default:
				_, _, err = lockHeld(dir, "l")
			}
		}
		<-stop
		done <- err
	}()
	for i := range 2000 {
		l, err := takeLock(dir, "l")
		if err != nil {
			t.Fatalf("try %d: %v", i, err)
		}
		if err := l.f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
