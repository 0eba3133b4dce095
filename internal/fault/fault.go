// SPDX-License-Identifier: Apache-2.0

// Package fault has a step of kmesh-node fail, or end the process, when its environment
// says so: how the tests prove that a failure leaves what was there, and that the next
// run repairs what a killed one left.
package fault

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Env names the step: STEP fails, kill:STEP ends the process at once; each whenever the
// step is reached, or with #N behind it when this process reaches it for the N-th time.
// trace:FILE adds the name of every step that is reached to FILE, a line each.
const Env = "KMESH_NODE_FAULT"

// ErrMade is the error of a step that was made to fail.
var ErrMade = errors.New("made to fail by " + Env)

var (
	mu   sync.Mutex
	seen = map[string]int{} // by step
)

// At is called where the step begins.
func At(step string) error {
	want := os.Getenv(Env)
	if want == "" {
		return nil
	}
	mu.Lock()
	defer mu.Unlock()
	seen[step]++
	if file, ok := strings.CutPrefix(want, "trace:"); ok {
		return trace(file, step)
	}
	want, kill := strings.CutPrefix(want, "kill:")
	if want != step && want != step+"#"+strconv.Itoa(seen[step]) {
		return nil
	}
	if kill {
		return unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	return fmt.Errorf("step %s: %w", step, ErrMade)
}

// Wanted says whether the environment asks for anything.
func Wanted() bool { return os.Getenv(Env) != "" }

func trace(file, step string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("trace step %s: %w", step, err)
	}
	_, err = f.WriteString(step + "\n")
	return errors.Join(err, f.Close())
}
