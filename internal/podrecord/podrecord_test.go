// SPDX-License-Identifier: Apache-2.0

package podrecord

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func sample(id string) *Record {
	return &Record{ContainerID: id, IfName: "eth0", Network: "n", Netns: "/run/netns/" + id, Dev: 4, Ino: 5, Cookie: 6,
		Boot: "b", Namespace: "default", Name: "web", IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}, Map: 7}
}

func newDir(t *testing.T) Dir { return Dir(filepath.Join(t.TempDir(), "run", "pods")) }

func TestRecordComesBackAsItWent(t *testing.T) {
	d := newDir(t)
	if l, invalid, err := d.List(); len(l)+len(invalid) > 0 || err != nil {
		t.Errorf("no directory: %v, %v, %v", l, invalid, err)
	}
	r := sample("a1")
	if err := d.Write(r); err != nil {
		t.Fatal(err)
	}
	got, err := d.Read("a1", "eth0")
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v", got, err)
	}
	r.Released = true
	second := sample("a0")
	if err := errors.Join(d.Write(r), d.Write(second)); err != nil {
		t.Fatal(err)
	}
	l, invalid, err := d.List()
	if err != nil || len(invalid) > 0 || !reflect.DeepEqual(l, []*Record{second, r}) {
		t.Errorf("%v, %v, %v", l, invalid, err)
	}
	if _, err := d.Read("a1", "eth1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("another interface: %v", err)
	}
	if err := errors.Join(d.Remove("a1", "eth0"), d.Remove("a1", "eth0"), d.Remove("a0", "eth0")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(string(d)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory stays: %v", err)
	}
}

// A name never leads out of the directory.
func TestNamesThatLeadElsewhereAreRefused(t *testing.T) {
	d := newDir(t)
	for _, x := range [][2]string{{"", "eth0"}, {"..", "eth0"}, {"../x", "eth0"}, {"a/b", "eth0"}, {"-a", "eth0"}, {"a@b", "eth0"}, {strings.Repeat("a", maxID+1), "eth0"},
		{"a", ""}, {"a", "."}, {"a", ".."}, {"a", "../../x"}, {"a", "a b"}, {"a", "a:b"}, {"a", strings.Repeat("e", maxIf+1)}, {"a", "e\n"}} {
		r := sample("a")
		r.ContainerID, r.IfName = x[0], x[1]
		_, read := d.Read(x[0], x[1])
		if d.Write(r) == nil || read == nil || errors.Is(read, os.ErrNotExist) || d.Remove(x[0], x[1]) == nil {
			t.Errorf("%q is taken", x)
		}
	}
	if _, err := os.Stat(string(d)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

// A record without a cookie is of a pod that is let alone, and of no other.
func TestRecordWithoutACookieIsOfAPodThatIsLetAlone(t *testing.T) {
	for cookie := range uint64(2) {
		for _, alone := range []bool{false, true} {
			r := sample("a")
			r.Cookie, r.Alone = cookie, alone
			if err := newDir(t).Write(r); (err == nil) != (alone == (cookie == 0)) {
				t.Errorf("cookie %d, alone %v: %v", cookie, alone, err)
			}
		}
	}
}

// Files that are no records are told of by name, and the others are read.
func TestDamagedRecordsAreToldOf(t *testing.T) {
	d := newDir(t)
	if err := d.Write(sample("good")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(d.path("good@eth0.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"cut@eth0.json":   string(text[:len(text)/2]),
		"other@eth0.json": string(text), // claims to be another's
		"long@eth0.json":  string(text) + strings.Repeat(" ", maxFile),
		"new@eth0.json":   strings.Replace(string(text), `"version":1`, `"version":2`, 1),
		"nil@eth0.json":   strings.NewReplacer("good@", "nil@", `"cookie":6`, `"cookie":0`).Replace(string(text)),
		"rel@eth0.json":   strings.NewReplacer(`"container_id":"good"`, `"container_id":"rel"`, `"/run/netns/good"`, `"netns"`).Replace(string(text)),
		"stray":           "",
	} {
		if err := os.WriteFile(d.path(name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("/etc/passwd", d.path("link@eth0.json")), os.Mkdir(d.path("dir@eth0.json"), 0o700),
		os.WriteFile(d.path("open@eth0.json"), text, 0o600), os.Chmod(d.path("open@eth0.json"), 0o666)); err != nil {
		t.Fatal(err)
	}
	l, invalid, err := d.List()
	if err != nil || len(l) != 1 || l[0].ContainerID != "good" {
		t.Errorf("%v, %v", l, err)
	}
	if len(invalid) != 10 {
		t.Errorf("%d are told of: %v", len(invalid), errors.Join(invalid...))
	}
	for _, err := range invalid {
		if !strings.Contains(err.Error(), string(d)) {
			t.Errorf("%v names no file", err)
		}
	}
}

// A reader sees a record of before or after, whoever writes.
func TestRecordsAreWrittenAtOnce(t *testing.T) {
	d := newDir(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 200 {
				r := sample("a")
				r.Name = strings.Repeat("x", 1+1000*i)
				if err := d.Write(r); err != nil {
					t.Error(err)
				}
				if i == 0 {
					if err := d.Remove("a", "eth0"); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 400 {
		if _, invalid, err := d.List(); err != nil || len(invalid) > 0 {
			t.Error(err, invalid)
		}
	}
	all.Wait()
	if names, err := d.names(); err != nil || len(names) > 1 {
		t.Errorf("left: %v, %v", names, err)
	}
}

// Who counts as an attachment that stands: of this boot, not taken back, its namespace there.
func TestWhatStands(t *testing.T) {
	d := newDir(t)
	boot, err := Boot()
	if err != nil {
		t.Fatal(err)
	}
	write := func(id string, change func(*Record)) *Record {
		t.Helper()
		r := sample(id)
		r.Boot, r.Netns = boot, "/proc/self/ns/net"
		if r.Dev, r.Ino, err = Identify(r.Netns); err == nil {
			change(r)
			err = d.Write(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	pod := write("pod", func(*Record) {})
	write("old", func(r *Record) { r.Boot = "another" })
	write("released", func(r *Record) { r.Released = true })
	write("gone", func(r *Record) { r.Cookie, r.Ino = 9, 1 })
	look := func(inUse int, shared bool) {
		t.Helper()
		list, _, err := d.List()
		n, inUseErr := d.InUse()
		if err := errors.Join(err, inUseErr); err != nil || n != inUse || Shared(list, pod) != shared {
			t.Errorf("%d in use, shared %v, %v; want %d, %v", n, Shared(list, pod), err, inUse, shared)
		}
	}
	look(1, false)
	write("pod", func(r *Record) { r.IfName = "eth1" })
	look(2, true)
	if err := os.WriteFile(d.path("cut@eth0.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	look(3, true)
}

func TestSweepRemovesWhatAKilledWriterLeft(t *testing.T) {
	d := newDir(t)
	if err := d.Write(sample("a")); err != nil {
		t.Fatal(err)
	}
	old, young := d.path(".new-1"), d.path(".new-2")
	long := time.Now().Add(-2 * stale)
	if err := errors.Join(os.WriteFile(old, nil, 0o600), os.WriteFile(young, nil, 0o600), os.Chtimes(old, long, long), d.Sweep()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("old: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("of one who may be writing: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"container_id":"a","ifname":"eth0","netns":"/x","cookie":1,"ips":["10.0.0.1"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse("a@eth0.json", data)
		if err != nil {
			return
		}
		d := newDir(t)
		if err := d.Write(r); err != nil {
			t.Fatal(err)
		}
		got, err := d.Read("a", "eth0")
		if err != nil {
			t.Fatal(err)
		}
		if r.IPs = append([]netip.Addr(nil), r.IPs...); !reflect.DeepEqual(got, r) { // none is nil
			t.Errorf("%+v, was %+v", got, r)
		}
	})
}
