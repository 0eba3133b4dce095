// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/test/machine"
)

// roleEnv tells a process of this binary what it is: the one that go test starts
// has none.
const roleEnv = "KMESH_SYSTEMD_ROLE"

const (
	roleGroup = "group" // stands in the cgroup that is to be the root of the new namespace
	roleInit  = "init"  // makes the root file system and becomes systemd
	roleTests = "tests" // runs the tests, as a unit
)

// sharedEnv names the directory that the processes of all roles see: what the
// tests print comes out of it.
const sharedEnv = "KMESH_SYSTEMD_SHARED"

// insideShared is where that directory is for the tests.
const insideShared = "/run/kmesh-test"

// skipReason is why no test can run here; empty where they can.
var skipReason string

func TestMain(m *testing.M) {
	flag.Parse()
	var code int
	var err error
	switch role := os.Getenv(roleEnv); role {
	case "":
		code, err = outer(m)
	case roleGroup:
		code, err = runInit()
	case roleInit:
		err = becomeInit(os.Getenv(sharedEnv))
	case roleTests:
		code = m.Run()
	default:
		err = fmt.Errorf("%s=%s: no such role", roleEnv, role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "systemd:", err)
		code = 1
	}
	os.Exit(code)
}

// outer prints what the tests print. Its exit code is that of the first process
// inside, which is that of the tests.
func outer(m *testing.M) (code int, err error) {
	if f := flag.Lookup("test.list"); f != nil && f.Value.String() != "" {
		return m.Run(), nil
	}
	if os.Geteuid() != 0 {
		skipReason = "needs root: namespaces, BPF"
		return m.Run(), nil
	}
	if _, err := os.Stat(systemd); err != nil {
		skipReason = systemd + " is not here: run scripts/deps.sh test"
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "kmesh-systemd-")
	if err != nil {
		return 1, fmt.Errorf("make directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	before, err := machine.Objects()
	if err != nil {
		return 1, err
	}
	code, err = inGroup(dir)
	if code != 0 {
		err = errors.Join(err, saveJournal(dir))
	}
	return code, errors.Join(err, machine.NothingLeft(before))
}

// saveJournal keeps what PID 1 and the units said, for people.
func saveJournal(dir string) error {
	log, err := os.ReadFile(filepath.Join(dir, "journal"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	to, err := filepath.Abs(filepath.Join("..", "..", "build", "test", "log", "systemd-journal"))
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, log, 0o644)); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	fmt.Println("journal of the failed run:", to)
	return nil
}

// inGroup starts this binary in a cgroup of its own and copies what the tests
// write to the pipe in dir.
func inGroup(dir string) (code int, err error) {
	group, err := newGroup()
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, group.remove()) }()
	pipe := filepath.Join(dir, "out")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		return 1, fmt.Errorf("make pipe: %w", err)
	}
	// Open for writing too, so that it is there before its first writer.
	out, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		return 1, fmt.Errorf("open pipe: %w", err)
	}
	copied := make(chan error, 1)
	go func() { copied <- copyLines(os.Stdout, out) }()

	// Whoever ends this process ends the tests: the cgroup is removed all the same.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleEnv+"="+roleGroup, sharedEnv+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.dir.Fd())}
	// systemd ignores the signals that a shell would send: its cgroup is killed.
	cmd.Cancel = group.kill
	err = cmd.Run()
	if _, e := fmt.Fprintln(out, endOfTests); e != nil {
		err = errors.Join(err, e)
	}
	err = errors.Join(exitOnly(&code, err), <-copied, out.Close())
	return code, err
}

// endOfTests is the last line in the pipe.
const endOfTests = "END OF TESTS"

func copyLines(w io.Writer, r io.Reader) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() && s.Text() != endOfTests {
		if _, err := fmt.Fprintln(w, s.Text()); err != nil {
			return err
		}
	}
	return s.Err()
}

// exitOnly takes the exit code out of err, which is nil then.
func exitOnly(code *int, err error) error {
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.Exited() {
		*code = failed.ExitCode()
		return nil
	}
	if err != nil {
		*code = 1
	}
	return err
}

// runInit starts the first process of the new namespaces: a cgroup namespace has
// its root where its maker stands.
func runInit() (code int, err error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(withoutRole(), roleEnv+"="+roleInit)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	err = exitOnly(&code, cmd.Run())
	return code, err
}

func withoutRole() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, roleEnv+"=") {
			env = append(env, e)
		}
	}
	return env
}
