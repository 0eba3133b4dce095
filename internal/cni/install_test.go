// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// lists are networks as people and daemons write them.
var lists = []string{
	"{\n  \"cniVersion\": \"1.0.0\",\n  \"name\": \"n\",\n  \"plugins\": [\n    {\n      \"type\": \"a\",\n      \"mtu\": 1e3\n    },\n    {\"type\": \"b\", \"x\": 12345678901234567890}\n  ]\n}\n",
	`{"name":"n","cniVersion":"0.4.0","plugins":[{"type":"a"}],"disableCheck":true}`,
	"{\t\"plugins\" : [ {\"type\":\"a\"} , {\"type\":\"b\"}\t] ,\r\n \"cniVersion\":\"1.1.0\",\"name\":\"\\u006e\" }  \r\n\r\n",
	"{\n\t\"cniVersion\": \"1.0.0\",\n\t\"name\": \"n\",\n\t\"plugins\": [\n\t\t{\n\t\t\t\"type\": \"a\"\n\t\t}\n\t]\n}",
}

func mustParse(t *testing.T, data []byte) *list {
	t.Helper()
	l, err := parseList(data)
	if err != nil {
		t.Fatalf("%v:\n%s", err, data)
	}
	return l
}

// To add our entry and take it out again gives what was there, and another entry in its
// place changes nothing else.
func TestEntryGoesInAndOutToTheByte(t *testing.T) {
	for _, text := range lists {
		l := mustParse(t, []byte(text))
		with, err := l.with(Settings{FailurePolicy: Open})
		if err != nil {
			t.Fatal(err)
		}
		var conf struct {
			Plugins []struct{ Type, FailurePolicy string }
		}
		if err := json.Unmarshal(with, &conf); err != nil {
			t.Fatalf("%v:\n%s", err, with)
		}
		last := conf.Plugins[len(conf.Plugins)-1]
		if last.Type != Name || last.FailurePolicy != Open || len(conf.Plugins) != len(l.plugins)+1 {
			t.Errorf("%s", with)
		}
		again, err := mustParse(t, with).with(Settings{FailurePolicy: Open})
		if err != nil || !bytes.Equal(again, with) {
			t.Errorf("again: %v\n%s\nwas\n%s", err, again, with)
		}
		other, err := mustParse(t, with).with(Settings{FailurePolicy: Closed, ExcludeNamespaces: []string{"<a>"}})
		if err != nil || bytes.Equal(other, with) {
			t.Errorf("%v: other settings change nothing", err)
		}
		if got := mustParse(t, other).without(); string(got) != text {
			t.Errorf("taken out:\n%q\nwas\n%q", got, text)
		}
	}
	if with, err := mustParse(t, []byte(lists[0])).with(Settings{Timeout: "5s"}); err != nil ||
		!strings.Contains(string(with), "},\n    {\n      \"type\": \"kmesh-cni\",\n      \"timeout\": \"5s\"\n    }\n  ]") {
		t.Errorf("%v: the entry has not the form of the others:\n%s", err, with)
	}
}

// An entry that others put behind ours, or in front of it, stays.
func TestEntryIsTakenOutFromBetweenOthers(t *testing.T) {
	for text, want := range map[string]string{
		`{"name":"n","plugins":[{"type":"a"}, {"type":"kmesh-cni"}, {"type":"c"}]}`: `{"name":"n","plugins":[{"type":"a"}, {"type":"c"}]}`,
		`{"name":"n","plugins":[{"type":"kmesh-cni"}, {"type":"c"}]}`:               `{"name":"n","plugins":[{"type":"c"}]}`,
	} {
		if got := mustParse(t, []byte(text)).without(); string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestListThatIsNoneIsRefused(t *testing.T) {
	for _, text := range []string{``, `{`, `[]`, `{"name":"n"}`, `{"name":"n","plugins":[]}`, `{"name":"n","plugins":{}}`, `{"plugins":[{"type":"a"}]}`,
		`{"name":"n","type":"a"}`, `{"name":"n","plugins":[{"type":"a"}],"plugins":[]}`, `{"name":"n","plugins":[3]}`, `{"name":"n","plugins":[{"type":"a"}]} {}`} {
		if _, err := parseList([]byte(text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

type host struct {
	Place
	self string
}

func newHost(t *testing.T, files map[string]string) host {
	t.Helper()
	h := host{Place{t.TempDir(), t.TempDir()}, filepath.Join(t.TempDir(), "self")}
	h.write(t, h.self, "program 1")
	for name, text := range files {
		h.write(t, filepath.Join(h.ConfDir, name), text)
	}
	return h
}

func (h host) write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func (h host) has(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(h.ConfDir, name)
	if data, err := os.ReadFile(path); err != nil || string(data) != text {
		t.Errorf("%s holds\n%s%v\nwant\n%s", name, data, err, text)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm() != 0o640 {
		t.Errorf("%s has mode %v", name, info.Mode())
	}
	if left, err := filepath.Glob(filepath.Join(h.ConfDir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// none are the pods of a host that has none.
func none() (int, error) { return 0, nil }

func TestInstallAndUninstall(t *testing.T) {
	files := map[string]string{"00-notes.txt": "x", "05-broken.conflist": "{", "10-n.conflist": lists[0], "20-other.conflist": lists[1]}
	h := newHost(t, files)
	reader, err := os.Open(filepath.Join(h.ConfDir, "10-n.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	out, err := Install(h.Place, h.self, Settings{FailurePolicy: Open})
	if err != nil {
		t.Fatal(err)
	}
	// A runtime that reads meanwhile has the old text or the new one, nothing between.
	if text, err := io.ReadAll(reader); err != nil || string(text) != lists[0] {
		t.Errorf("the file was written in place: %q, %v", text, err)
	}
	plugin := filepath.Join(h.BinDir, Name)
	network := filepath.Join(h.ConfDir, "10-n.conflist")
	if len(out.Changed) != 2 || out.Network != network || len(out.Notes) != 1 {
		t.Errorf("%+v", out)
	}
	if info, err := os.Stat(plugin); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the program: %v, %v", info, err)
	}
	if out, err = Install(h.Place, h.self, Settings{FailurePolicy: Open}); err != nil || len(out.Changed) != 0 {
		t.Errorf("again: %+v, %v", out, err)
	}
	h.write(t, h.self, "program 2")
	if out, err = Install(h.Place, h.self, Settings{FailurePolicy: Closed}); err != nil || len(out.Changed) != 2 {
		t.Errorf("another program and other settings: %+v, %v", out, err)
	}
	if data, err := os.ReadFile(plugin); err != nil || string(data) != "program 2" {
		t.Errorf("the program is %q, %v", data, err)
	}
	// Another network took the first place since.
	h.write(t, filepath.Join(h.ConfDir, "06-new.conflist"), lists[3])
	if out, err = Install(h.Place, h.self, Settings{}); err != nil || len(out.Changed) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	if out, err = Uninstall(h.Place, func() (int, error) {
		// A pod that came until now is counted, and none comes any more.
		h.has(t, "10-n.conflist", lists[0])
		return 3, nil
	}); err != nil || len(out.Changed) != 2 || len(out.Notes) != 1 {
		t.Errorf("while pods are there: %+v, %v", out, err)
	}
	files["06-new.conflist"] = lists[3]
	for name, text := range files {
		h.has(t, name, text)
	}
	if _, err := os.Stat(plugin); err != nil {
		t.Errorf("the program that pods need: %v", err)
	}
	if out, err = Uninstall(h.Place, none); err != nil || len(out.Changed) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	if out, err = Uninstall(h.Place, none); err != nil || len(out.Changed) != 0 {
		t.Errorf("again: %+v, %v", out, err)
	}
}

// What is not said again stays as the entry has it, and so does what others wrote into it.
func TestInstallAgainKeepsTheSettings(t *testing.T) {
	h := newHost(t, map[string]string{"10-n.conflist": lists[0]})
	path := filepath.Join(h.ConfDir, "10-n.conflist")
	install := func(s, want Settings) string {
		t.Helper()
		out, err := Install(h.Place, h.self, s)
		if err != nil || !reflect.DeepEqual(*out.Settings, want) {
			t.Fatalf("in force: %+v, %v", out, err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const bpffs = "/sys/fs/bpf"
	install(Settings{}, Settings{bpffs, Open, "5s", "warning", nil})
	said := Settings{"/b", Closed, "9s", "debug", []string{"kube-system"}}
	text := install(said, said)
	if again := install(Settings{}, said); again != text {
		t.Errorf("%s\nwas\n%s", again, text)
	}
	// As somebody may write it.
	byHand := strings.Replace(strings.Replace(text, `"timeout": "9s",`, `"capabilities": {"ips": true}, `, 1), `"debug"`, `"error"`, 1)
	h.write(t, path, byHand)
	said.Timeout, said.LogLevel = "5s", "error"
	if again := install(Settings{}, said); again != byHand {
		t.Errorf("%s\nwas\n%s", again, byHand)
	}
	said.FailurePolicy, said.ExcludeNamespaces = Open, nil
	text = install(Settings{FailurePolicy: Open, ExcludeNamespaces: []string{}}, said)
	if !strings.Contains(text, "\n      \"capabilities\": {\n        \"ips\": true\n      }\n    }") || strings.Contains(text, "excludeNamespaces") {
		t.Errorf("%s", text)
	}
	// A slip in it is not passed on.
	for old, slip := range map[string]string{`"failurePolicy"`: `"failurePolcy"`, `"open"`: `"ajar"`, `"error"`: `3`} {
		h.write(t, path, strings.Replace(text, old, slip, 1))
		if _, err := Install(h.Place, h.self, Settings{}); exit.Code(err) != exit.Rejected || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", slip, err)
		}
	}
}

// A runtime can call the plugin at each moment while another one takes its place: a program
// that somebody has open for writing cannot be run.
func TestPluginCanBeCalledWhileItIsExchanged(t *testing.T) {
	dir := t.TempDir()
	plugin := filepath.Join(dir, Name)
	exchange := func(n int) {
		t.Helper()
		from := filepath.Join(dir, "from")
		if err := os.WriteFile(from, fmt.Appendf(nil, "#!/bin/sh\n# %d\n", n), 0o600); err != nil {
			t.Fatal(err)
		}
		if changed, err := copyProgram(from, plugin); err != nil || !changed {
			t.Fatal(changed, err)
		}
	}
	exchange(0)
	// In a process of its own: one that is started here has what is open here for a moment.
	calls := exec.Command("/bin/sh", "-c", `while [ ! -e "$1" ]; do "$0" || exit; done`, plugin, filepath.Join(dir, "over"))
	var said bytes.Buffer
	calls.Stderr = &said
	if err := calls.Start(); err != nil {
		t.Fatal(err)
	}
	for n := range 200 {
		exchange(n + 1)
	}
	if err := os.WriteFile(filepath.Join(dir, "over"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := calls.Wait(); err != nil {
		t.Errorf("%v: %s", err, &said)
	}
}

// A symbolic link stays one, and the file behind it is edited.
func TestInstallFollowsLinks(t *testing.T) {
	h := newHost(t, nil)
	real := filepath.Join(t.TempDir(), "real")
	h.write(t, real, lists[1])
	link := filepath.Join(h.ConfDir, "10-n.conflist")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Install(h.Place, h.self, Settings{}); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != real {
		t.Errorf("the link: %q, %v", to, err)
	}
	if data, err := os.ReadFile(real); err != nil || !bytes.Contains(data, []byte(Name)) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestInstallNeedsANetwork(t *testing.T) {
	for name, x := range map[string]struct {
		text string
		code int
		word string
	}{
		"10-n.txt":      {lists[0], exit.NotReady, "no network is configured"},
		"10-n.conf":     {`{"cniVersion":"1.0.0","name":"n","type":"bridge"}`, exit.Rejected, "plugins"},
		"10-n.conflist": {`{"cniVersion":"0.2.0","name":"n","plugins":[{"type":"bridge"}]}`, exit.Rejected, "0.3.0"},
		"10-m.conflist": {`{"name":"n","plugins":[{"type":"bridge"}]}`, exit.Rejected, "cniVersion"},
	} {
		h := newHost(t, map[string]string{name: x.text})
		_, err := Install(h.Place, h.self, Settings{})
		if exit.Code(err) != x.code || !strings.Contains(err.Error(), x.word) {
			t.Errorf("%s: %v", name, err)
		}
		h.has(t, name, x.text)
	}
	h := newHost(t, map[string]string{"10-n.conflist": lists[0]})
	h.BinDir += "/none"
	if _, err := Install(h.Place, h.self, Settings{}); exit.Code(err) != exit.NotReady || !strings.Contains(err.Error(), "--cni-bin-dir") {
		t.Errorf("no directory of plugins: %v", err)
	}
	h.has(t, "10-n.conflist", lists[0])
}

// The file that is edited is the first of those that runtimes take; where it is one that
// cannot be edited exactly none is.
func TestInstallTakesTheFileThatRuntimesTake(t *testing.T) {
	for name, x := range map[string]struct {
		text string
		word string // of the error; empty: it is passed over
	}{
		"10-twice.conflist":  {`{"cniVersion":"1.0.0","name":"m","name":"n","plugins":[{"type":"a"}]}`, "name twice"},
		"10-long.conflist":   {lists[1] + strings.Repeat(" ", maxList), "too long"},
		"10-none.conflist":   {`{"cniVersion":"1.0.0","name":"n","plugins":[]}`, ""},
		"10-type.conflist":   {`{"cniVersion":"1.0.0","name":"n","plugins":[{"mtu":1}]}`, ""},
		"10-check.conflist":  {`{"cniVersion":"1.0.0","name":"n","disableCheck":7,"plugins":[{"type":"a"}]}`, ""},
		"10-single.conflist": {`{"cniVersion":"1.0.0","name":"n","type":"a"}`, ""},
		"10-list.conf":       {lists[1], ""},
		"10-list.json":       {lists[1], ""},
	} {
		h := newHost(t, map[string]string{name: x.text, "20-n.conflist": lists[0]})
		out, err := Install(h.Place, h.self, Settings{})
		h.has(t, name, x.text)
		switch {
		case x.word == "" && (err != nil || len(out.Notes) != 1 || filepath.Base(out.Network) != "20-n.conflist"):
			t.Errorf("%s: %+v, %v", name, out, err)
		case x.word != "" && (exit.Code(err) != exit.Rejected || !strings.Contains(err.Error(), x.word)):
			t.Errorf("%s: %v", name, err)
		case x.word != "":
			h.has(t, "20-n.conflist", lists[0])
			if _, err := os.Stat(filepath.Join(h.BinDir, Name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: the program: %v", name, err)
			}
		}
	}
	h := newHost(t, map[string]string{"10-a.conflist": "# none"})
	if _, err := Install(h.Place, h.self, Settings{}); exit.Code(err) != exit.NotReady || !strings.Contains(err.Error(), "10-a.conflist was passed over") {
		t.Errorf("no file is taken: %v", err)
	}
}

// The program does not go while an entry for it may be left, and no file is edited then.
func TestUninstallTellsOfWhatItCannotEdit(t *testing.T) {
	ours := `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"},{"type":"kmesh-cni"}]}`
	for name, text := range map[string]string{
		"20-twice.conflist": strings.Replace(ours, `"name"`, `"name":"m","name"`, 1),
		"20-cut.conflist":   ours[:len(ours)-1],
		"20-long.conflist":  ours + strings.Repeat(" ", maxList),
	} {
		h := newHost(t, map[string]string{"10-n.conflist": ours, name: text})
		plugin := filepath.Join(h.BinDir, Name)
		h.write(t, plugin, "program")
		if out, err := Uninstall(h.Place, none); exit.Code(err) != exit.Rejected || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
		h.has(t, "10-n.conflist", ours)
		if _, err := os.Stat(plugin); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := newHost(t, map[string]string{"05-notes.json": "{", "10-n.conf": `{"name":"kmesh-cni","type":"a"}`})
	if out, err := Uninstall(h.Place, none); err != nil || len(out.Changed) > 0 {
		t.Errorf("files of others: %+v, %v", out, err)
	}
	if err := os.Mkdir(filepath.Join(h.BinDir, Name), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Uninstall(h.Place, none); exit.Code(err) != exit.NotReady {
		t.Errorf("a directory of that name: %v", err)
	}
}

// What somebody else wrote in between is not lost.
func TestReplaceKeepsWhatOthersWrote(t *testing.T) {
	h := newHost(t, map[string]string{"10-n.conflist": lists[0]})
	path := filepath.Join(h.ConfDir, "10-n.conflist")
	file, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, path, lists[1])
	if err := file.replace([]byte("x")); !errors.Is(err, errEdited) {
		t.Errorf("error %v", err)
	}
	h.has(t, "10-n.conflist", lists[1])
}

func FuzzConflist(f *testing.F) {
	for _, l := range lists {
		f.Add([]byte(l))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseList(data)
		if err != nil || l.own() >= 0 {
			return
		}
		with, err := l.with(Settings{FailurePolicy: Open})
		if err != nil {
			t.Fatal(err)
		}
		if got := mustParse(t, with).without(); !bytes.Equal(got, data) {
			t.Errorf("%q, was %q", got, data)
		}
	})
}
