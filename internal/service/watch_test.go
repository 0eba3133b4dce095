// SPDX-License-Identifier: Apache-2.0

package service

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/sirupsen/logrus"
)

// patience bounds waits for what must come.
const patience = 20 * time.Second

func quietLog() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func write(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

// watch watches until the test ends.
func watch(t *testing.T, paths ...string) *Watcher {
	t.Helper()
	w, err := Watch(paths, quietLog())
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	return w
}

func (s *Watcher) mustTell(t *testing.T, of string) {
	t.Helper()
	select {
	case <-s.Changed:
	case <-time.After(patience):
		t.Fatalf("nothing was told of %s", of)
	}
}

func TestAWatchTellsOfEveryWayToChange(t *testing.T) {
	top := t.TempDir()
	in := func(name ...string) string { return filepath.Join(append([]string{top}, name...)...) }
	dir, file, mounted, current := in("dir"), in("file.yaml"), in("mounted"), in("current")
	must(t, os.Mkdir(dir, 0o700), write(in("dir", "a.yaml"), "1"), write(file, "1"),
		// As a volume of a ConfigMap: files lead through ..data.
		os.MkdirAll(in("mounted", "..1"), 0o700), write(in("mounted", "..1", "a.yaml"), "1"),
		os.Symlink("..1", in("mounted", "..data")), os.Symlink("..data/a.yaml", in("mounted", "a.yaml")),
		os.Mkdir(in("v1"), 0o700), write(in("v1", "a.yaml"), "1"), os.Symlink("v1", current))
	w := watch(t, dir, file, mounted, current, in("later", "a.yaml"))
	renamed := func(path, text string) error {
		if err := write(path+".swp", text); err != nil {
			return err
		}
		return os.Rename(path+".swp", path)
	}
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"a file written in place", func() error { return write(file, "2") }},
		{"a file renamed over", func() error { return renamed(file, "3") }},
		{"a file written in place after that", func() error { return write(file, "4") }},
		{"a file removed", func() error { return os.Remove(file) }},
		{"a file that is there again", func() error { return write(file, "5") }},
		{"a file of a directory written in place", func() error { return write(in("dir", "a.yaml"), "2") }},
		{"a new file in a directory", func() error { return write(in("dir", "b.yaml"), "1") }},
		{"a file removed from a directory", func() error { return os.Remove(in("dir", "b.yaml")) }},
		{"..data leading elsewhere", func() error {
			must(t, os.Mkdir(in("mounted", "..2"), 0o700), write(in("mounted", "..2", "a.yaml"), "2"),
				os.Symlink("..2", in("mounted", "..data_tmp")))
			return os.Rename(in("mounted", "..data_tmp"), in("mounted", "..data"))
		}},
		{"what ..data leads to, in place", func() error { return write(in("mounted", "..2", "a.yaml"), "3") }},
		{"a link to a directory leading elsewhere", func() error {
			must(t, os.Mkdir(in("v2"), 0o700), write(in("v2", "a.yaml"), "2"), os.Symlink("v2", in("next")))
			return os.Rename(in("next"), current)
		}},
		{"a file in the directory that the link leads to now", func() error { return write(in("v2", "a.yaml"), "3") }},
		{"the directory removed", func() error { return os.RemoveAll(dir) }},
		{"the directory there again", func() error { return os.Mkdir(dir, 0o700) }},
		{"a file in that directory", func() error { return write(in("dir", "a.yaml"), "3") }},
		{"the directory renamed", func() error { return os.Rename(dir, in("away")) }},
		{"another directory of its name", func() error { return os.Rename(in("away"), dir) }},
		{"the directory of a file that was not there", func() error { return os.Mkdir(in("later"), 0o700) }},
		{"a file that was not there", func() error { return write(in("later", "a.yaml"), "1") }},
	} {
		must(t, w.Arm())
		must(t, c.do())
		w.mustTell(t, c.what)
	}
}

// What is read after the last word of the watch is what was written last.
func TestAWatchDoesNotLoseTheLastChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	must(t, write(file, "0"))
	w := watch(t, filepath.Dir(file))
	const last = "300"
	done := make(chan error, 1)
	go func() {
		for i := 1; i <= 300; i++ {
			if err := write(file, strconv.Itoa(i)); err != nil {
				done <- err
				return
			}
			if i%50 == 0 {
				time.Sleep(settle) // so that there are several changes
			}
		}
		done <- nil
	}()
	for {
		w.mustTell(t, "the last change")
		must(t, w.Arm())
		b, err := os.ReadFile(file)
		must(t, err)
		if string(b) == last {
			break
		}
	}
	must(t, <-done)
}

func TestAWatchTellsOfFilesThatAreNeverQuiet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	w := watch(t, filepath.Dir(file))
	end := time.After(patience)
	for i := 0; ; i++ {
		must(t, write(file, strconv.Itoa(i)))
		select {
		case <-w.Changed:
			return
		case <-end:
			t.Fatal("nothing was told while the file changed")
		case <-time.After(settle / 10):
		}
	}
}

func TestWhatAWatchDoesNotCareAbout(t *testing.T) {
	top := t.TempDir()
	file, dir := filepath.Join(top, "a.yaml"), filepath.Join(top, "dir")
	must(t, write(file, "1"), os.Mkdir(dir, 0o700))
	in := interests{}
	in.follow(file)
	in.follow(dir)
	for _, c := range []struct {
		name string
		op   fsnotify.Op
		want bool
	}{
		{file, fsnotify.Write, true},
		{file, fsnotify.Chmod, false},
		{filepath.Join(top, "another"), fsnotify.Create, false},
		{filepath.Join(dir, "another"), fsnotify.Create, true},
		{dir, fsnotify.Rename, true},
		{"/elsewhere", fsnotify.Write, false},
	} {
		if got := in.concerns(fsnotify.Event{Name: c.name, Op: c.op}); got != c.want {
			t.Errorf("%s %s: %v", c.op, c.name, got)
		}
	}
}

func TestLinksInACircleEnd(t *testing.T) {
	top := t.TempDir()
	a := filepath.Join(top, "a")
	must(t, os.Symlink("b", a), os.Symlink("a", filepath.Join(top, "b")))
	in := interests{}
	in.follow(a)
	if !in[top]["a"] || !in[top]["b"] {
		t.Errorf("interests: %v", in)
	}
}

func TestTheFingerprintIsOtherWhenFilesAre(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	seen := map[uint64]string{}
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"empty", func() error { return nil }},
		{"a file", func() error { return write(file, "1") }},
		{"longer", func() error { return write(file, "22") }},
		{"later", func() error { return os.Chtimes(file, time.Time{}, time.Unix(1, 0)) }},
		{"gone", func() error { return os.RemoveAll(dir) }},
	} {
		must(t, c.do())
		f := Fingerprint([]string{dir})
		if before, ok := seen[f]; ok {
			t.Errorf("%s is as %s", c.what, before)
		}
		if seen[f] = c.what; Fingerprint([]string{dir}) != f {
			t.Errorf("%s: looked at again it is other", c.what)
		}
	}
}
