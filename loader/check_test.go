// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// finding runs check and returns one of its findings.
func (h *host) finding(name string) Finding {
	h.t.Helper()
	r, err := Check(&h.cfg, false)
	if err != nil && exit.Code(err) != exit.NotReady {
		h.t.Fatal(err)
	}
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return strings.HasPrefix(f.Name, name) })
	if i < 0 {
		h.t.Fatalf("check finds nothing on %s: %+v", name, r.Findings)
	}
	for _, f := range r.Findings {
		if f.OK == (f.Remedy != "") {
			h.t.Errorf("a remedy goes with what is wrong: %+v", f)
		}
	}
	return r.Findings[i]
}

func TestKernelsThatAreTooOld(t *testing.T) {
	for release, want := range map[string]bool{"4.19.0-26-amd64": false, "5.4.0": false, "5.9.16": false, "5.10.0-38-amd64": true,
		"5.10": true, "6.1.0": true, "7.0.0-rc1": true, "nonsense": false, "": false} {
		if newEnough(release) != want {
			t.Errorf("new enough: %q %v, want %v", release, !want, want)
		}
	}
	if atLeast("5.10.0-38-amd64", 5, 15) || !atLeast("5.15.0", 5, 15) || !atLeast("6.1.0", 5, 15) {
		t.Error("of 5.10, 5.15 and 6.1 the last two alone are at least 5.15")
	}
}

func TestLockdownStateIsRead(t *testing.T) {
	for text, want := range map[string]string{"[none] integrity confidentiality\n": "none", "none [integrity] confidentiality\n": "integrity",
		"none integrity [confidentiality]\n": "confidentiality", "what\n": "unknown: what"} {
		if got := lockdownState(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestMountsOfTheHostAreToldFromOnesOwn(t *testing.T) {
	const host = `25 1 254:0 / / rw shared:1 - ext4 /dev/root rw
26 25 0:24 / /sys rw shared:7 - sysfs sysfs rw
30 26 0:30 / /sys/fs/bpf rw shared:12 - bpf bpf rw
`
	const unit = `90 80 254:0 / / rw master:1 - ext4 /dev/root rw
91 90 0:24 / /sys rw master:7 - sysfs sysfs rw
`
	const shared = `90 80 254:0 / / rw shared:1 - ext4 /dev/root rw
91 90 0:24 / /sys rw shared:7 - sysfs sysfs rw
92 91 0:24 /fs /sys/f\040s rw - sysfs sysfs rw
`
	if !sameMounts(host, host) || sameMounts(host, unit) {
		t.Error("a namespace is itself, and its copy is not")
	}
	if l := mountAbove(shared, "/sys/fs/bpf"); sharedWith(l) != "7" || sharedWith(mountAbove(unit, "/sys/fs/bpf")) != "" {
		t.Errorf("above /sys/fs/bpf: %q", l)
	}
	if l := mountAbove(shared, "/sys/f s/x"); !strings.HasPrefix(l, "92 ") {
		t.Errorf("above /sys/f s/x: %q", l)
	}
	if !hasDevice(host, "0:30") || hasDevice(unit, "0:30") {
		t.Error("the bpffs is the host's alone")
	}
}

func TestPathsOfCgroups(t *testing.T) {
	for _, c := range []struct {
		path, base string
		want       bool
	}{{"/", "/", true}, {"/a", "/", true}, {"/..", "/", false}, {"/../x", "/", false}, {"/a", "/a", true}, {"/a/b", "/a", true},
		{"/ab", "/a", false}, {"/", "/a", false}} {
		if isBelow(c.path, c.base) != c.want {
			t.Errorf("%s below %s: %v", c.path, c.base, !c.want)
		}
	}
}

func TestXDPProgramsOfADeviceAreRead(t *testing.T) {
	attr := func(kind uint16, id uint32) []byte {
		b := binary.NativeEndian.AppendUint16(nil, 8)
		b = binary.NativeEndian.AppendUint16(b, kind)
		return binary.NativeEndian.AppendUint32(b, id)
	}
	mode := append(binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, 5), unix.IFLA_XDP_ATTACHED), 2, 0, 0, 0)
	both := slices.Concat(mode, attr(unix.IFLA_XDP_PROG_ID, 7), attr(unix.IFLA_XDP_SKB_PROG_ID, 7), attr(unix.IFLA_XDP_DRV_PROG_ID, 9))
	if got := xdpPrograms(both); !slices.Equal(got, []uint32{7, 9}) {
		t.Errorf("programs %v, want 7 and 9", got)
	}
	for n := range both { // cut off anywhere
		xdpPrograms(both[:n])
	}
	if got := xdpPrograms(mode); len(got) > 0 {
		t.Errorf("programs %v of a device without", got)
	}
}

// What check says that maps take is near to what the kernel then accounts for them.
func TestMemoryThatIsForetoldIsWhatMapsTake(t *testing.T) {
	eachMode(t, func(t *testing.T, h *host) {
		for _, flows := range []uint32{h.cfg.FlowEntries, 1 << 20} {
			h.cfg.FlowEntries = flows
			want := must1(memoryFor(&h.cfg, false))(t)
			must(t, h.up())
			got := h.status().Memory
			if got > want*3/2 || want > got*3/2 {
				t.Errorf("foretold are %d bytes, the maps take %d", want, got)
			}
			if more := must1(memoryFor(&h.cfg, false))(t); more != 0 {
				t.Errorf("%d bytes more for what is there", more)
			}
			must1(Down(&h.cfg))(t)
			if h.cfg.Mode == Ads {
				return
			}
		}
	})
}

func TestCheckFindsOthersProgramsOnTheCgroup(t *testing.T) {
	eachMode(t, func(t *testing.T, h *host) {
		if f := h.finding("others' programs"); !f.OK {
			t.Errorf("on a new cgroup: %+v", f)
		}
		must(t, h.up())
		if f := h.finding("others' programs"); !f.OK {
			t.Errorf("with its own programs alone: %+v", f)
		}
		other := *h
		other.cfg.BpfFsPath += "-other"
		other.t_ = other.cfg.tree()
		f := other.finding("others' programs")
		if f.OK || f.Required || !strings.Contains(f.Detail, "sockconn4 (id ") {
			t.Errorf("beside another: %+v", f)
		}
	})
}

// Another's program that lets nobody in is found by check, and by plan, as up does.
func TestAProgramThatLetsNobodyInIsFoundBeforehand(t *testing.T) {
	h := newHost(t)
	must(t, h.up())
	prog := h.pinned(progDir, "sockconn4")
	must1(Down(&h.cfg))(t)
	cg := must1(openCgroup(h.cfg.Cgroup2Path))(t)
	defer func() { must(t, unix.Close(cg.fd)) }()
	must(t, attachAlone(prog, cg.fd, cgroupConnect4))
	defer func() { must(t, detachAlone(prog, cg.fd, cgroupConnect4)) }()
	f := h.finding("others' programs")
	if f.OK || !f.Required || !strings.Contains(f.Detail, "nobody else") {
		t.Errorf("check: %+v", f)
	}
	_, err := MakePlan(&h.cfg)
	wantError(t, err, exit.Attach, "sockconn4", "bpftool cgroup tree")
	wantError(t, h.up(), exit.Attach, "sockconn4", "bpftool cgroup tree")
}

func TestAProgramOnAPodsDeviceIsFoundBeforehand(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	path := newPod(t, "10.1.2.3/24")
	p := must1(lookInto(must1(cookieAt(path))(t), path))(t)
	other := *h
	other.cfg.BpfFsPath += "-other"
	other.t_ = other.cfg.tree()
	must(t, other.up())
	stranger := must1(attachNIC(p, p.nics[0], other.pinned(progDir, nicProgram), XDPGeneric))(t)
	defer func() { must(t, unix.Close(stranger)) }()
	defer func() { must1(Down(&other.cfg))(t) }()
	must(t, h.cfgHandles(func(hd *Handles) error { // as the control address does
		return mapUpdate(hd.FD("km_netns"), p.cookie, newKmNetns(1))
	}))
	if f := h.finding("others' XDP programs"); f.OK || !strings.Contains(f.Detail, "eth0 of "+path) {
		t.Errorf("check: %+v", f)
	}
	_, err := MakePlan(&h.cfg)
	wantError(t, err, exit.Attach, "eth0", path, "ip link show")
	wantError(t, h.up(), exit.Attach, "eth0", path, "ip link show")
}

func TestCheckSaysWhoseProcessesTheCgroupHolds(t *testing.T) {
	h := newHost(t)
	if f := h.finding("processes of"); f.OK || f.Required || !strings.Contains(f.Detail, "outside") {
		t.Errorf("an empty cgroup below the root: %+v", f)
	}
	var st unix.Stat_t
	root := filepath.Dir(h.cfg.Cgroup2Path)
	must(t, unix.Stat(root, &st))
	h.cfg.Cgroup2Path = root
	if f := h.finding("processes of"); st.Ino == rootCgroup && !f.OK {
		t.Errorf("the root: %+v", f)
	}
}

func TestBTFOfAFileIsCheckedAgainstTheKernels(t *testing.T) {
	h := newHost(t)
	own := must1(os.ReadFile(vmlinuxBTF))(t)
	dir := filepath.Dir(h.cfg.RunDir)
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, data, 0o600))
		return path
	}
	another := slices.Clone(own)
	another[len(another)/2] ^= 1
	for path, word := range map[string]string{
		filepath.Join(dir, "nowhere"):                "no such file",
		"/dev/zero":                                  "not a file",
		file("text", []byte("this is not BTF")):      "not BTF",
		file("cut", own[:len(own)/2]):                "cut off",
		file("another", another):                     "another kernel",
		filepath.Join(objectsDir(), "wmaps.bpf.o"):   "not the BTF of a kernel",
		must1(filepath.EvalSymlinks("/bin/true"))(t): "without a section .BTF",
	} {
		h.cfg.BTF = path
		wantError(t, h.up(), exit.NotReady, path, word, "--btf")
	}
	h.cfg.BTF = file("own", own)
	must(t, h.up())
	h.noProblem()
}

func TestJITIsNotMissedWhereItCannotBeSeen(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for a network namespace")
	}
	onOwnThread(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		r := &Report{}
		if r.jit(); !r.Findings[0].OK {
			t.Errorf("%+v", r.Findings[0])
		}
	})
}
