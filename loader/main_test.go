// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"context"
	"debug/elf"
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

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// privateEnv marks the run of this test binary that has its own mounts.
const privateEnv = "KMESH_LOADER_TEST_PRIVATE"

// TestMain runs the tests once more in a mount namespace of their own, so that
// nothing of them is left on the host.
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
	os.Exit(m.Run())
}

// host is a private place to come up in.
type host struct {
	t   *testing.T
	cfg Config
	t_  tree
	log *strings.Builder
	// objects is the directory of the BPF objects.
	objects string
}

// newHost gives a bpffs path that does not exist yet, a fresh child cgroup and a
// /run that is empty.
func newHost(t *testing.T) *host {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it loads BPF programs")
	}
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount("/run", unix.MNT_DETACH)) })
	root := filepath.Join(dir, "cgroup2")
	must(t, os.Mkdir(root, 0o755))
	must(t, unix.Mount("test", root, "cgroup2", 0, must1(cgroup2.options())(t)))
	child := filepath.Join(root, "kmesh-loader-"+filepath.Base(filepath.Dir(dir)))
	must(t, os.Mkdir(child, 0o755))
	h := &host{t: t, cfg: Default(), log: &strings.Builder{}, objects: objectsDir()}
	h.cfg.Mode = Ads
	h.cfg.BpfFsPath = filepath.Join(dir, "bpf")
	h.cfg.Cgroup2Path = child
	h.cfg.RunDir = filepath.Join(dir, "run")
	h.cfg.Objects = os.DirFS(h.objects)
	h.cfg.Log = logrus.New()
	h.cfg.Log.SetOutput(h.log)
	h.cfg.Log.SetLevel(logrus.DebugLevel)
	h.t_ = h.cfg.tree()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(h.log.String())
		}
		if err := os.Remove(child); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		must(t, unix.Unmount(root, 0))
		if err := unix.Unmount(h.cfg.BpfFsPath, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
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

// upKilled is up by a process that dies at the step.
func (h *host) upKilled(step string) {
	h.t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKilledUp$")
	cmd.Env = append(os.Environ(), "KMESH_TEST_BPF="+h.objects, "KMESH_NODE_FAULT=kill:"+step, killedEnv+"="+strings.Join(
		[]string{h.cfg.BpfFsPath, h.cfg.Cgroup2Path, h.cfg.RunDir, h.cfg.ConnectRet, string(h.cfg.Mode)}, "|"))
	out, err := cmd.CombinedOutput()
	var e *exec.ExitError
	if !errors.As(err, &e) || !e.Sys().(syscall.WaitStatus).Signaled() {
		h.t.Fatalf("up was not killed: %v\n%s", err, out)
	}
}

const killedEnv = "KMESH_LOADER_TEST_KILLED"

// TestKilledUp is the process that upKilled starts; it is no test by itself.
func TestKilledUp(t *testing.T) {
	args := strings.Split(os.Getenv(killedEnv), "|")
	if len(args) != 5 {
		return
	}
	cfg := Default()
	cfg.Mode, cfg.Objects = Mode(args[4]), os.DirFS(objectsDir())
	cfg.BpfFsPath, cfg.Cgroup2Path, cfg.RunDir, cfg.ConnectRet = args[0], args[1], args[2], args[3]
	must(t, NewBpfLoader(&cfg).Start(context.Background()))
}

// anotherBuild makes the next up one of another build: in ads mode one of another
// set of programs, in workload mode one whose objects are not the same to a byte.
func (h *host) anotherBuild() {
	h.t.Helper()
	if h.cfg.Mode == Ads {
		h.cfg.ConnectRet = ConnectRetOff
		return
	}
	h.objects = h.t.TempDir()
	must(h.t, os.CopyFS(h.objects, h.cfg.Objects))
	name := filepath.Join(h.objects, "wmaps.bpf.o")
	must(h.t, os.WriteFile(name, append(must1(os.ReadFile(name))(h.t), 0), 0o600))
	h.cfg.Objects = os.DirFS(h.objects)
}

// firstBuild undoes that.
func (h *host) firstBuild() {
	h.objects, h.cfg.ConnectRet = objectsDir(), ConnectRetAuto
	h.cfg.Objects = os.DirFS(h.objects)
}

func (h *host) status() *Status {
	h.t.Helper()
	return must1(GetStatus(&h.cfg))(h.t)
}

func (h *host) record() *record {
	h.t.Helper()
	return must1(h.t_.load())(h.t)
}

func (h *host) cfgHandles(do func(*Handles) error) error {
	hd, err := OpenPinned(&h.cfg)
	if err != nil {
		return err
	}
	defer hd.Close()
	return do(hd)
}

func (h *host) config() (c kmConfig) {
	h.t.Helper()
	must(h.t, h.cfgHandles(func(hd *Handles) error { return mapLookup(hd.fds["km_config"], uint32(0), &c) }))
	return c
}

// links lists the links of status by name.
func (h *host) links() []string {
	h.t.Helper()
	var l []string
	for _, s := range h.status().Links {
		l = append(l, s.Name)
	}
	return l
}

// pins lists every pin with its object's id and what it refers to.
func (h *host) pins() string {
	h.t.Helper()
	var b strings.Builder
	for _, d := range pinDirs {
		for _, e := range must1(os.ReadDir(h.t_.dir(d)))(h.t) {
			fd := must1(pinGet(h.t_.pin(d, e.Name())))(h.t)
			switch d {
			case mapDir:
				fmt.Fprintln(&b, d, e.Name(), must1(mapInfoOf(fd))(h.t).ID)
			case progDir:
				fmt.Fprintln(&b, d, e.Name(), must1(progInfoOf(fd))(h.t).ID)
			case linkDir:
				i := must1(linkInfoOf(fd))(h.t)
				fmt.Fprintln(&b, d, e.Name(), i.ID, i.Prog, i.Cgroup)
			}
			must(h.t, unix.Close(fd))
		}
	}
	return b.String()
}

func (h *host) noPin(d dir, name string) {
	h.t.Helper()
	if _, err := os.Lstat(h.t_.pin(d, name)); !errors.Is(err, os.ErrNotExist) {
		h.t.Errorf("%s %s is pinned: %v", d, name, err)
	}
}

// empty checks that nothing is left: no mount, no directory, no lock.
func (h *host) empty() {
	h.t.Helper()
	for _, p := range []string{h.cfg.BpfFsPath, h.cfg.RunDir, storeRunDir} {
		if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
			entries, _ := os.ReadDir(p)
			h.t.Errorf("%s is left, with %v", p, entries)
		}
	}
}

// wantError checks an error's exit code and that it says each of the words, on one line.
func wantError(t *testing.T, err error, code int, words ...string) {
	t.Helper()
	if exit.Code(err) != code {
		t.Fatalf("exit code %d, want %d: %v", exit.Code(err), code, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q has more than a line", err)
	}
}

// badObject makes an object's first program return with R0 unset: the verifier
// rejects that with a log.
func badObject(t *testing.T, data []byte) []byte {
	t.Helper()
	f := must1(elf.NewFile(bytes.NewReader(data)))(t)
	for _, s := range f.Sections {
		if s.Type == elf.SHT_PROGBITS && s.Flags&elf.SHF_EXECINSTR != 0 && s.Size > 0 {
			bad := bytes.Clone(data)
			copy(bad[s.Offset:], []byte{0x95, 0, 0, 0, 0, 0, 0, 0}) // exit
			return bad
		}
	}
	t.Fatal("the object has no program")
	return nil
}

// attachAlone attaches in the old way, which lets nobody else in.
func attachAlone(prog, cgroup int, attachType uint32) error {
	return progAttach(prog, cgroup, attachType)
}

func detachAlone(prog, cgroup int, attachType uint32) error {
	return progDetach(prog, cgroup, attachType)
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

type syscallConn = syscall.RawConn

// cookies lists the keys of a map whose keys are cookies.
func cookies(fd int) ([]uint64, error) { return netnsKeys(fd) }
