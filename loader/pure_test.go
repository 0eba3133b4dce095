// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/lockfile"
)

func TestBaseName(t *testing.T) {
	for name, want := range map[string]struct {
		base   string
		staged bool
	}{
		"km_tail4":       {"km_tail4", false},
		"km_tail4_1":     {"km_tail4", true},
		"km_tail4_12":    {"km_tail4", true},
		"km_tail4_0":     {"km_tail4_0", false},
		"filter_chain4":  {"filter_chain4", false},
		staged("a_1", 2): {"a_1", true},
	} {
		base, prepared := baseName(name)
		if base != want.base || prepared != want.staged {
			t.Errorf("%s: %s %v, want %s %v", name, base, prepared, want.base, want.staged)
		}
	}
}

// A name of the table that looked like a prepared pin would be dropped as one.
func TestNoNameOfTheTableLooksPreparedOrIsCut(t *testing.T) {
	for _, mode := range modes {
		names := []string{}
		for _, m := range mapsOf(mode) {
			names = append(names, m.name)
		}
		for _, p := range programsOf(mode) {
			names = append(names, p.name)
		}
		seen := map[string]bool{}
		for _, n := range names {
			if _, prepared := baseName(n); prepared || len(n) > 15 || strings.Contains(n, ".") || seen[n] {
				t.Errorf("%s is no good name for a pin", n)
			}
			seen[n] = true
		}
	}
	if name := nicLink(1<<63, 12); !isNICLink(name) || isNICLink(name+"_1") {
		t.Errorf("%s is no name of a link on a device", name)
	}
}

func TestLockNamesAreOneToOneWithPaths(t *testing.T) {
	seen := map[string]string{}
	for _, p := range []string{"/sys/fs/bpf", "/sys/fs%2Fbpf", "/sys/fs%252Fbpf", "/sys%2Ffs/bpf", "/sys/fs/bpf/x"} {
		n := lockName(p, ".lock")
		if strings.Contains(n, "/") || seen[n] != "" {
			t.Errorf("%s and %s have the lock %s", p, seen[n], n)
		}
		seen[n] = p
	}
	if lockName("/sys/fs/bpf/", ".lock") != lockName("/sys/fs/bpf", ".lock") {
		t.Error("a slash at the end makes another lock")
	}
}

const mountinfo = `22 28 0:21 / /proc rw,nosuid - proc proc rw
30 28 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
31 28 0:27 / /mnt/a\040b rw - bpf kmesh-node rw,mode=700
32 28 0:27 / /mnt/c rw - bpf kmesh-node+2 rw
33 28 0:28 / /mnt/c rw - tmpfs none rw
broken line
`

func TestFindMount(t *testing.T) {
	at := func(path string) *mountPoint {
		m, err := findMount(strings.NewReader(mountinfo), func(m *mountPoint) bool { return m.path == path })
		must(t, err)
		return m
	}
	if m := at("/mnt/a b"); m == nil || m.fstype != "bpf" {
		t.Errorf("a path with a blank: %+v", m)
	} else if made, ours := m.ours(bpffs); !ours || made != 0 {
		t.Errorf("ours: %d %v", made, ours)
	}
	if m := at("/mnt/c"); m == nil || m.fstype != "tmpfs" {
		t.Errorf("the mount on top is %+v", m)
	}
	if m := at("/nowhere"); m != nil {
		t.Errorf("nothing is %+v", m)
	}
	for source, made := range map[string]int{"kmesh-node": 0, "kmesh-node+2": 2, "kmesh-node+x": -1, "none": -1, "kmesh-nodes": -1} {
		n, ours := (&mountPoint{fstype: "bpf", source: source}).ours(bpffs)
		if ours != (made >= 0) || ours && n != made {
			t.Errorf("source %s: %d %v", source, n, ours)
		}
	}
}

// btfOf makes BTF of an integer, a structure with a member, and a typedef of that name.
func btfOf(typedef string) []byte {
	strs := []byte("\x00int\x00s\x00m\x00" + typedef + "\x00")
	var types bytes.Buffer
	put := func(v ...uint32) {
		for _, x := range v {
			types.Write(binary.NativeEndian.AppendUint32(nil, x))
		}
	}
	put(1, 1<<24, 4, 32)          // int
	put(5, 4<<24|1, 4, 7, 1, 0)   // struct s { int m; }
	put(9, btfKindTypedef<<24, 1) // typedef int NAME
	var b bytes.Buffer
	h := btfHeader{Magic: btfMagic, Version: 1, HdrLen: 24, TypeLen: uint32(types.Len()), StrOff: uint32(types.Len()), StrLen: uint32(len(strs))}
	if err := binary.Write(&b, binary.NativeEndian, h); err != nil {
		panic(err)
	}
	b.Write(types.Bytes())
	b.Write(strs)
	return b.Bytes()
}

func TestAPatchedKernelIsToldByItsTypedef(t *testing.T) {
	for name, want := range map[string]bool{connectRetTypedef: true, "btf_trace_connect_re": false, "btf_trace_connect_ret2": false} {
		got, err := btfHasTypedef(bytes.NewReader(btfOf(name)), connectRetTypedef)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// The name alone, of another kind, is not enough.
	b := btfOf(connectRetTypedef)
	b[24+16+24+7] = 2 // the typedef becomes a pointer
	if got, err := btfHasTypedef(bytes.NewReader(b), connectRetTypedef); err != nil || got {
		t.Errorf("a name of another kind: %v, %v", got, err)
	}
}

func TestCutOrForeignBTFIsAnErrorNotACrash(t *testing.T) {
	whole := btfOf(connectRetTypedef)
	for n := range whole {
		if _, err := btfHasTypedef(bytes.NewReader(whole[:n]), connectRetTypedef); err == nil {
			t.Errorf("the first %d bytes of %d were taken", n, len(whole))
		}
	}
	for i := 0; i < 24; i++ {
		b := bytes.Clone(whole)
		b[i] ^= 0xff
		_, err := btfHasTypedef(bytes.NewReader(b), connectRetTypedef)
		t.Logf("byte %d: %v", i, err) // any answer but a panic
	}
}

func TestTheKernelsOwnBTFIsUnderstood(t *testing.T) {
	f, err := os.Open(vmlinuxBTF)
	if err != nil {
		t.Skip("this kernel has no BTF:", err)
	}
	defer f.Close()
	for name, want := range map[string]bool{"btf_trace_inet_sock_set_state": true, "btf_trace_no_such_thing": false} {
		if got, err := btfHasTypedef(f, name); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestVerifierLogIsCutOutOfLibbpfsWarnings(t *testing.T) {
	w := "libbpf: prog 'a': BPF program load failed: -22\nlibbpf: prog 'a': -- BEGIN PROG LOAD LOG --\nline 1\nline 2\n-- END PROG LOAD LOG --\nlibbpf: prog 'a': failed to load: -22\n"
	prog, log, ok := verifierLog(w)
	if !ok || prog != "a" || log != "line 1\nline 2\n" {
		t.Errorf("%q %q %v", prog, log, ok)
	}
	if _, _, ok := verifierLog("libbpf: something else\n"); ok {
		t.Error("a log where there is none")
	}
	if l := lastLines("1\n2\n3\n", 2); strings.Join(l, ",") != "2,3" {
		t.Error(l)
	}
	if l := lastLines("1\n", 15); strings.Join(l, ",") != "1" {
		t.Error(l)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir() + "/run"
	a := must1(takeLock(dir, "x"))(t)
	_, err := takeLock(dir, "x")
	wantError(t, err, 15, "pid "+itoa(os.Getpid()))
	if pid, held, err := lockHeld(dir, "x"); err != nil || !held || pid != itoa(os.Getpid()) {
		t.Errorf("held: %q %v %v", pid, held, err)
	}
	must(t, must1(takeLock(dir, "y"))(t).release())
	must(t, a.release())
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error("the directory of locks is left:", err)
	}
	if _, held, err := lockHeld(dir, "x"); err != nil || held {
		t.Errorf("held after release: %v %v", held, err)
	}
}

func TestALockThatItsHolderRemovedIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	a := must1(takeLock(dir, "x"))(t)
	must(t, os.Remove(dir+"/x")) // as a holder does at its end
	b := must1(takeLock(dir, "x"))(t)
	if lockfile.Current(a.f, a.path) || !lockfile.Current(b.f, b.path) {
		t.Error("the removed file counts as the lock")
	}
	must(t, a.f.Close())
	must(t, b.release())
}

func TestALockIsNeverFollowedThroughASymlink(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/target", []byte("precious"), 0o600))
	must(t, os.Symlink(dir+"/target", dir+"/x"))
	_, err := takeLock(dir, "x")
	wantError(t, err, 10, unix.ELOOP.Error())
	if b := must1(os.ReadFile(dir + "/target"))(t); string(b) != "precious" {
		t.Errorf("the target is %q", b)
	}
}
