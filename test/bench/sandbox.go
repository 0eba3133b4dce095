// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The benchmark is two processes. The outer one makes a cgroup and starts the
// inner one in it, in a mount namespace of its own; it removes the cgroup when the
// inner one has ended in whatever way. All else that is made (pins on a private
// bpffs, links, network namespaces, locks under a private /run) belongs to the
// inner one's namespaces and descriptors and ends with it.

// Modes of kmesh-node.
const (
	modeAds      = "ads"
	modeWorkload = "workload"
)

const (
	innerEnv = "KMESH_BENCH_CGROUP" // name of the cgroup: says "you are the inner one"
	baseDir  = "/run/kmesh-bench"   // in the inner one's own /run
)

// superviseInner returns the inner process's exit code.
func superviseInner() (code int, err error) {
	root, err := detachedCgroup2()
	if err != nil {
		return 0, err
	}
	defer closeFD(root)
	name := fmt.Sprintf("kmesh-bench-%d", os.Getpid())
	if err := unix.Mkdirat(root, name, 0o755); err != nil {
		return 0, fmt.Errorf("make cgroup %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, removeCgroup(root, name)) }()
	dir, err := unix.Openat(root, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open cgroup %s: %w", name, err)
	}
	defer closeFD(dir)

	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), innerEnv+"="+name)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS,
		UseCgroupFD:  true,
		CgroupFD:     dir,
		Pdeathsig:    syscall.SIGKILL,
	}
	// The terminal signals both; this one must stay to clean up.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the inner process: %w", err)
	}
	go func() {
		for s := range signals {
			if err := cmd.Process.Signal(s); err != nil {
				return
			}
		}
	}()
	err = cmd.Wait()
	var exited *exec.ExitError
	if errors.As(err, &exited) {
		return max(exited.ExitCode(), 1), nil
	}
	return 0, err
}

// detachedCgroup2 returns a cgroup2 tree that is mounted nowhere.
func detachedCgroup2() (int, error) {
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open cgroup2 (run as root): %w", err)
	}
	defer closeFD(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("configure cgroup2: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("mount cgroup2: %w", err)
	}
	return fd, nil
}

// removeCgroup ends what still runs in the cgroup and removes it.
func removeCgroup(root int, name string) error {
	kill, err := unix.Openat(root, name+"/cgroup.kill", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		if _, err := unix.Write(kill, []byte("1")); err != nil {
			fmt.Fprintf(os.Stderr, "end processes of cgroup %s: %v\n", name, err)
		}
		closeFD(kill)
	}
	for range 200 { // the kernel ends them in its own time
		if err = unix.Unlinkat(root, name, unix.AT_REMOVEDIR); err != unix.EBUSY {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("remove cgroup %s: %w", name, err)
	}
	return nil
}

// A sandbox is where kmesh-node is brought up.
type sandbox struct {
	mode     string // of kmesh-node: ads or workload
	build    string // folder of the built files
	bpffs    string
	cgroup   string
	cgroupFD int
	stateDir string // scratch files
}

// newSandbox prepares the inner process's namespaces.
func newSandbox(build string) (*sandbox, error) {
	s := &sandbox{
		mode:     modeAds,
		build:    build,
		bpffs:    filepath.Join(baseDir, "bpf"),
		stateDir: filepath.Join(baseDir, "tmp"),
		cgroup:   filepath.Join(baseDir, "cgroup", os.Getenv(innerEnv)),
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range []struct{ kind, dir string }{
		{"tmpfs", "/run"}, {"bpf", s.bpffs}, {"cgroup2", filepath.Join(baseDir, "cgroup")},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return nil, fmt.Errorf("mount %s on %s: %w", m.kind, m.dir, err)
		}
	}
	if err := os.MkdirAll(s.stateDir, 0o755); err != nil {
		return nil, err
	}
	var err error
	s.cgroupFD, err = unix.Open(s.cgroup, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s: %w", s.cgroup, err)
	}
	return s, nil
}

// in returns the same sandbox for the other mode; what is up there is taken down.
func (s *sandbox) in(mode string) (*sandbox, error) {
	if _, err := s.node("down"); err != nil {
		return nil, err
	}
	other := *s
	other.mode = mode
	return &other, nil
}

// rival returns the same sandbox with another build of kmesh-node, on pins of its own.
func (s *sandbox) rival(build string) (*sandbox, error) {
	r := *s
	r.build = build
	r.bpffs = filepath.Join(baseDir, "bpf-rival")
	if err := os.MkdirAll(r.bpffs, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("bpf", r.bpffs, "bpf", 0, ""); err != nil {
		return nil, fmt.Errorf("mount bpf on %s: %w", r.bpffs, err)
	}
	return &r, nil
}

// args are the arguments of kmesh-node on the sandbox.
func (s *sandbox) args(command ...string) []string {
	return append([]string{"--mode", s.mode, "--bpf-fs-path", s.bpffs, "--cgroup2-path", s.cgroup}, command...)
}

// ran is what became of a command that succeeded.
type ran struct {
	wall time.Duration
	cpu  time.Duration // of it and of the processes that it waited for
	out  string
}

// node runs kmesh-node on the sandbox. The error of a failed command
// ends in what it said.
func (s *sandbox) node(args ...string) (ran, error) {
	return runCommand(exec.Command(filepath.Join(s.build, "kmesh-node"), s.args(args...)...))
}

func runCommand(cmd *exec.Cmd) (ran, error) {
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	start := time.Now()
	err := cmd.Run()
	r := ran{wall: time.Since(start), out: out.String()}
	if err != nil {
		text := strings.TrimSpace(said.String())
		if len(text) > 600 {
			text = "..." + text[len(text)-600:]
		}
		return r, fmt.Errorf("%s %s: %w: %s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), err, text)
	}
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return r, nil
}

// pins is the directory of kmesh-node's own pins of one sort: map, prog or link.
func (s *sandbox) pins(sort string) string {
	return filepath.Join(s.bpffs, "kmesh_node", s.mode, sort)
}
