// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// privateEnv marks the run of this test binary that has its own mounts.
const privateEnv = "KMESH_LOADER_TEST_PRIVATE"

// TestMain runs the tests once more in a mount namespace of their own, with
// their own /run, so that nothing of them is left on the host.
func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		os.Exit(m.Run()) // those that need root say so
	}
	if os.Getenv(privateEnv) == "" {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env = append(os.Environ(), privateEnv+"=1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		err := cmd.Run()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit):
			os.Exit(exit.ExitCode())
		case err != nil:
			fmt.Fprintln(os.Stderr, "re-execute in a private mount namespace:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		fmt.Fprintln(os.Stderr, "mount tmpfs on /run:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// host is a private place to come up in.
type host struct {
	t   *testing.T
	cfg Config
	log *strings.Builder
}

// newHost gives a bpffs path that does not exist yet and a fresh child cgroup.
func newHost(t *testing.T) *host {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it loads BPF programs")
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "cgroup2")
	must(t, os.Mkdir(root, 0o755))
	must(t, unix.Mount("test", root, "cgroup2", 0, must1(cgroup2.options())(t)))
	child := filepath.Join(root, "kmesh-loader-"+filepath.Base(filepath.Dir(dir)))
	must(t, os.Mkdir(child, 0o755))
	h := &host{t: t, cfg: Default(), log: &strings.Builder{}}
	h.cfg.Mode = Ads
	h.cfg.BpfFsPath = filepath.Join(dir, "bpf")
	h.cfg.Cgroup2Path = child
	h.cfg.RunDir = filepath.Join(dir, "run")
	h.cfg.Objects = os.DirFS(objectsDir())
	h.cfg.Log = logrus.New()
	h.cfg.Log.SetOutput(h.log)
	h.cfg.Log.SetLevel(logrus.DebugLevel)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(h.log.String())
		}
		if err := os.Remove(child); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		must(t, unix.Unmount(root, 0))
		if err := unix.Unmount(h.cfg.BpfFsPath, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			t.Error(err)
		}
	})
	return h
}

// up brings the data plane up and lets go of it, as the command does.
func (h *host) up() error {
	h.log.Reset()
	l := NewBpfLoader(&h.cfg)
	defer l.Stop()
	return l.Start(context.Background())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must1[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		must(t, err)
		return v
	}
}

// objectsDir is where the build put the BPF objects.
func objectsDir() string {
	if d := os.Getenv("KMESH_TEST_BPF"); d != "" {
		return d
	}
	return "../build/bpf"
}
