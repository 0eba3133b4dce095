// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/test/machine"
)

// roleEnv tells a process of this binary what it is: the one that go test starts
// has none, the others are started from it.
const roleEnv = "KMESH_E2E_ROLE"

const (
	roleInner          = "inner"           // runs the tests, in private namespaces
	rolePusher         = "pusher"          // writes to the store, under kmesh-node exec
	roleWorkloadPusher = "workload-pusher" // writes to workload mode's maps
	roleHold           = "hold"            // waits to be killed
)

// hostNetFD is the descriptor of the host's own network namespace in the inner process.
const hostNetFD = 3

// skipReason is why no test can run here; empty where they can.
var skipReason string

// The main thread is PID 1 inside, and what it is in is the host's to kmesh-node:
// no test may run on it and take it into a pod.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	flag.Parse()
	var code int
	var err error
	switch role := os.Getenv(roleEnv); role {
	case "":
		code, err = outer(m)
	case roleInner:
		if err = isolate(); err == nil {
			code = m.Run()
		}
		if err == nil && code == 0 {
			err = writeFaultReport()
		}
	case rolePusher:
		err = push(os.Stdin, os.Stdout)
	case roleWorkloadPusher:
		err = pushWorkload(os.Stdin, os.Stdout)
	case roleDialer:
		err = dialWithoutPause(os.Stdin, os.Stdout)
	case roleHold:
		select {}
	default:
		err = fmt.Errorf("%s=%s: no such role", roleEnv, role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// outer runs this binary again in private namespaces and compares the host
// before and after.
func outer(m *testing.M) (int, error) {
	if f := flag.Lookup("test.list"); f != nil && f.Value.String() != "" {
		return m.Run(), nil
	}
	if os.Geteuid() != 0 {
		skipReason = "needs root: namespaces, BPF"
		return m.Run(), nil
	}
	before, err := snapshot()
	if err != nil {
		return 1, err
	}
	code, err := inner()
	return code, errors.Join(err, before.unchanged())
}

// inner returns the exit code of the process that ran the tests.
func inner() (int, error) {
	group, err := newGroup()
	if err != nil {
		return 1, err
	}
	hostNet, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return 1, errors.Join(fmt.Errorf("open host network namespace: %w", err), group.remove())
	}
	// Whoever ends this process ends the tests: the cgroup is removed all the same.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleEnv+"="+roleInner)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{hostNet} // hostNetFD
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig: syscall.SIGKILL,
	}
	// The death signal is bound to the thread that starts the child: this one, the
	// main thread, lives as long as the process.
	// A cgroup namespace has its root where its maker stands.
	if err = group.enter(); err == nil {
		err = cmd.Start()
		err = errors.Join(err, group.leave())
	}
	if err == nil {
		err = cmd.Wait()
	}
	err = errors.Join(err, hostNet.Close(), group.remove())
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.Exited() {
		return failed.ExitCode(), nil
	}
	if err != nil {
		return 1, fmt.Errorf("run tests in private namespaces: %w", err)
	}
	return 0, nil
}

// repoFile returns the path of a file of this repository.
func repoFile(t testing.TB, elem ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"..", ".."}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run make first", err)
	}
	return path
}

// group is the cgroup that the tests and all that they start live in.
type group struct {
	home string // where this process came from
	path string
	root *machine.Cgroup2
}

func newGroup() (*group, error) {
	g := &group{}
	var err error
	if g.root, err = machine.FindCgroup2(); err != nil {
		return nil, err
	}
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("read own cgroup: %w", err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		if at, ok := strings.CutPrefix(line, "0::"); ok {
			g.home = filepath.Join(g.root.Path, at)
		}
	}
	// A kernel on which programs on the root alone are run.
	if os.Getenv("KMESH_E2E_ROOT_CGROUP") == "1" {
		g.path = g.home
		return g, nil
	}
	if g.path, err = os.MkdirTemp(g.home, "kmesh-e2e-"); err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	return g, nil
}

func moveTo(cgroup string) error {
	file := filepath.Join(cgroup, "cgroup.procs")
	if err := os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return fmt.Errorf("move to cgroup: %w", err)
	}
	return nil
}

func (g *group) enter() error { return moveTo(g.path) }
func (g *group) leave() error { return moveTo(g.home) }

// remove waits for the last of the processes in it to be gone.
func (g *group) remove() error {
	var err error
	if g.path != g.home {
		err = eventually(func() error { return os.Remove(g.path) })
	}
	return errors.Join(err, g.root.Close())
}
