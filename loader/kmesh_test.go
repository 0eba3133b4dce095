// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

func TestOnlySettingsChangedMeansNoReload(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	before := h.record()
	h.cfg.Settings = Settings{ManageAll: true, ControlAddress: true}
	must(t, h.up())
	if after := h.record(); !after.same(before) {
		t.Error("the record changed")
	}
	s := h.status().Settings
	if s.Manage != "all" || !s.ControlAddress || s.OutlierDetection {
		t.Errorf("settings %+v", s)
	}
}

func TestSecondUpAtTheSameMomentIsRefused(t *testing.T) {
	h := newHost(t)
	l := must1(takeLock(h.cfg.RunDir, lockName(h.cfg.BpfFsPath, ".lock")))(t)
	wantError(t, h.up(), exit.Locked, "pid "+itoa(os.Getpid()))
	_, err := Down(&h.cfg)
	wantError(t, err, exit.Locked, "pid "+itoa(os.Getpid()))
	must(t, l.release())
	must(t, h.up())
}

func TestBesideALiveRun(t *testing.T) {
	h := newHost(t)
	cfg := h.cfg
	cfg.Stay = true
	run := NewBpfLoader(&cfg)
	must(t, run.Start(context.Background()))
	before := h.record()
	h.cfg.Settings.ManageAll = true
	must(t, h.up())
	if after := h.record(); !after.same(before) || h.status().Settings.Manage != "enrolled" {
		t.Error("an up of the same build changed something")
	}
	h.cfg.ConnectRet = ConnectRetOff
	wantError(t, h.up(), exit.Locked, "pid "+itoa(os.Getpid()))
	_, err := Down(&h.cfg)
	wantError(t, err, exit.Locked, "pid "+itoa(os.Getpid()))
	second := NewBpfLoader(&cfg)
	wantError(t, second.Start(context.Background()), exit.Locked)
	run.Stop()
	if p := h.status().Problems; len(p) > 0 {
		t.Error("the data plane did not outlive run:", p)
	}
	must(t, h.up())
	must1(Down(&h.cfg))(t)
	h.empty()
}

func TestNothingUp(t *testing.T) {
	h := newHost(t)
	_, err := GetStatus(&h.cfg)
	wantError(t, err, exit.NotUp, "not up", "kmesh-node --mode ads up")
	_, err = OpenPinned(&h.cfg)
	wantError(t, err, exit.NotUp)
	must1(Down(&h.cfg))(t)
	h.empty()
}

func TestCheckVerifiesEveryProgramAndLeavesNothing(t *testing.T) {
	h := newHost(t)
	r := must1(Check(&h.cfg, true))(t)
	must(t, r.Ready())
	if len(r.Programs) != len(programs) {
		t.Errorf("%d programs of %d", len(r.Programs), len(programs))
	}
	for _, p := range r.Programs {
		if p.Verified == 0 || p.Verified > 20000 {
			t.Errorf("%s: %d verified instructions", p.Name, p.Verified)
		}
	}
	h.empty()
}

func TestTheVariantsAttach(t *testing.T) {
	for flag, want := range map[string]string{ConnectRetAuto: "sock_state", ConnectRetSysExit: "sys_exit_connect", ConnectRetOff: "off"} {
		t.Run(flag, func(t *testing.T) {
			h := newHost(t)
			h.cfg.ConnectRet = flag
			must(t, h.up())
			s := h.status()
			if s.ConnectRet.Variant != want || s.ConnectRet.Why == "" {
				t.Errorf("%+v", s.ConnectRet)
			}
			if perThread := h.config().per_thread != 0; perThread != (flag == ConnectRetSysExit) {
				t.Errorf("results by thread: %v", perThread)
			}
			must1(Down(&h.cfg))(t)
			h.empty()
		})
	}
}

func TestHandOffNamesEveryMapOfTheStore(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	must(t, h.cfgHandles(func(hd *Handles) error {
		must(t, hd.ApiEnvCfg())
		for _, m := range mapsOf(Ads) {
			if m.env == "" {
				continue
			}
			if got, want := os.Getenv(m.env), itoa(int(h.record().Maps[m.name])); got != want {
				t.Errorf("%s=%s, want %s", m.env, got, want)
			}
			if got, want := os.Getenv(m.env+"_FD"), itoa(hd.fds[m.name]); got != want {
				t.Errorf("%s_FD=%s, want %s", m.env, got, want)
			}
		}
		for _, v := range must1(hd.Variables(false))(t) {
			if strings.HasSuffix(v.Name, "_FD") {
				t.Errorf("%s is printed, and dead", v.Name)
			}
		}
		return nil
	}))
	if v, ok := os.LookupEnv("Cluster_FD"); ok {
		t.Errorf("Cluster_FD=%s outlives its descriptor", v)
	}
}

// A link's descriptor that a child inherits would keep it attached.
func TestNoDescriptorButTheStoresMapsIsInherited(t *testing.T) {
	h := newHost(t)
	l := NewBpfLoader(&h.cfg)
	must(t, l.Start(context.Background()))
	defer l.Stop()
	for _, e := range must1(os.ReadDir("/proc/self/fd"))(t) {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || !strings.Contains(to, "bpf") {
			continue
		}
		var fd int
		for _, c := range e.Name() {
			fd = fd*10 + int(c-'0')
		}
		if flags := must1(unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0))(t); flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d, %s, would be inherited", fd, to)
		}
	}
}

// newNetns makes a network namespace and returns a path to it.
func newNetns(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ns")
	must(t, os.WriteFile(path, nil, 0o600))
	var err error
	onOwnThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}
	})
	must(t, err)
	t.Cleanup(func() { must(t, unix.Unmount(path, unix.MNT_DETACH)) })
	return path
}

func TestEnrolment(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	ns := newNetns(t)
	must(t, h.cfgHandles(func(hd *Handles) error {
		cookie := must1(hd.Enroll(ns, false))(t)
		if again := must1(hd.Enroll(ns, false))(t); again != cookie {
			t.Errorf("cookies %d and %d of one namespace", cookie, again)
		}
		l := must1(hd.Enrolled())(t)
		if len(l) != 1 || l[0].Cookie != cookie || l[0].Since == 0 {
			t.Errorf("enrolled: %+v", l)
		}
		if n := h.status().Enrolled; n != 1 {
			t.Errorf("status: %d enrolled", n)
		}
		if got := must1(hd.Unenroll(ns))(t); got != cookie {
			t.Errorf("released %d, not %d", got, cookie)
		}
		_, err := hd.Unenroll(ns)
		wantError(t, err, exit.NotUp, "not enrolled")
		return nil
	}))
}

func TestTheHostsOwnNamespaceNeedsForce(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	must(t, h.cfgHandles(func(hd *Handles) error {
		_, err := hd.Enroll("/proc/self/ns/net", false)
		wantError(t, err, exit.Usage, "host's own", "--force")
		cookie := must1(hd.Enroll("/proc/self/ns/net", true))(t)
		l := must1(hd.Enrolled())(t)
		if len(l) != 1 || l[0].Cookie != cookie || len(l[0].Paths) == 0 {
			t.Errorf("enrolled: %+v", l)
		}
		return nil
	}))
}

func TestEnrollOfWhatIsNoNamespace(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	fifo := filepath.Join(t.TempDir(), "fifo") // which nobody ever writes to
	must(t, unix.Mkfifo(fifo, 0o600))
	must(t, h.cfgHandles(func(hd *Handles) error {
		for _, path := range []string{"/proc/self/ns/uts", fifo} {
			_, err := hd.Enroll(path, false)
			wantError(t, err, exit.Usage, "not a network namespace")
		}
		if _, err := lookInto(1, fifo); !errors.Is(err, unix.EINVAL) {
			t.Errorf("devices of a FIFO: %v", err)
		}
		_, err := hd.Enroll("/nowhere", false)
		wantError(t, err, exit.NotUp, "/nowhere")
		return nil
	}))
}

func TestEnrollLeavesTheCallersNamespace(t *testing.T) {
	ns := newNetns(t)
	before := must1(ownCookie())(t)
	inside := must1(cookieAt(ns))(t)
	if after := must1(ownCookie())(t); after != before || inside == before {
		t.Errorf("cookies before %d, inside %d, after %d", before, inside, after)
	}
}

func TestOwnConnectionsAreListedOnlyWhileTheyConnect(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	ln := must1(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer ln.Close()
	must(t, h.cfgHandles(func(hd *Handles) error {
		d := hd.OwnDialer()
		var listed []uint64
		d.ControlContext = func(context.Context, string, string, syscallConn) error {
			listed = must1(cookies(hd.fds["km_own"]))(t)
			return nil
		}
		conn := must1(d.DialContext(context.Background(), "tcp", ln.Addr().String()))(t)
		defer conn.Close()
		raw := must1(conn.(*net.TCPConn).SyscallConn())(t)
		var cookie uint64
		must(t, raw.Control(func(fd uintptr) { cookie = must1(cookieOption(int(fd), unix.SO_COOKIE))(t) }))
		if !slices.Contains(listed, cookie) {
			t.Errorf("before the connect %d was not among %v", cookie, listed)
		}
		if left := must1(cookies(hd.fds["km_own"]))(t); len(left) > 0 {
			t.Errorf("left after the connect: %v", left)
		}
		return nil
	}))
}

func TestMissingCapabilityAndBTFAreNamed(t *testing.T) {
	h := newHost(t)
	empty := t.TempDir()
	must(t, unix.Mount(empty, filepath.Dir(vmlinuxBTF), "", unix.MS_BIND, ""))
	wantError(t, h.up(), exit.NotReady, vmlinuxBTF, "CONFIG_DEBUG_INFO_BTF")
	must(t, unix.Unmount(filepath.Dir(vmlinuxBTF), 0))
	h.empty()

	if os.Getenv(powerlessEnv) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestMissingCapabilityOfAPowerlessProcess$", "-test.v")
		cmd.Env = append(os.Environ(), powerlessEnv+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

const powerlessEnv = "KMESH_LOADER_TEST_POWERLESS"

// TestMissingCapabilityOfAPowerlessProcess runs in a process of its own.
func TestMissingCapabilityOfAPowerlessProcess(t *testing.T) {
	if os.Getenv(powerlessEnv) == "" {
		return
	}
	closed := t.TempDir()
	must(t, os.Chmod(closed, 0))
	runtime.LockOSThread()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	must(t, unix.Capset(&hdr, &none[0]))
	cfg := Default()
	cfg.Mode = Ads
	// The capabilities of this thread are what /proc/thread-self shows.
	wantError(t, NewBpfLoader(&cfg).Start(context.Background()), exit.NotReady, "CAP_SYS_ADMIN", "run as root")
	cfg.BpfFsPath = closed
	_, err := GetStatus(&cfg)
	wantError(t, err, exit.NotReady, "CAP_SYS_ADMIN", "run as root")
}
