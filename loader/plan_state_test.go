// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// state is everything that a plan tells of, by kind, mode and name, with what tells
// it from another one of that name.
func (h *host) state() map[string]string {
	h.t.Helper()
	s := map[string]string{}
	for path, fs := range map[string]filesystem{h.cfg.BpfFsPath: bpffs, h.cfg.Cgroup2Path: cgroup2} {
		if there := must1(fs.check(path))(h.t); there {
			s["mount  "+path] = "there"
		}
		for p := path; strings.HasPrefix(p, filepath.Dir(h.cfg.RunDir)+"/"); p = filepath.Dir(p) {
			if _, err := os.Lstat(p); err == nil {
				s["made directory  "+p] = "there"
			}
		}
	}
	for _, m := range modes {
		h.stateOf(m, s)
	}
	return s
}

func (h *host) stateOf(m Mode, s map[string]string) {
	h.t.Helper()
	t := tree{h.cfg.BpfFsPath, string(m)}
	for i, d := range t.directories() {
		if _, err := os.Lstat(d); err == nil {
			of := string(m)
			if i == 0 {
				of = ""
			}
			s["directory "+of+" "+d] = "there"
		}
	}
	rec, err := t.load()
	if errors.Is(err, os.ErrNotExist) {
		rec, err = &record{}, nil
	} else {
		s[fmt.Sprintf("record %s meta", m)] = string(must1(json.Marshal(rec))(h.t))
	}
	must(h.t, err)
	fds := map[string]int{}
	for _, d := range pinDirs {
		entries, err := os.ReadDir(t.dir(d))
		if !errors.Is(err, os.ErrNotExist) {
			must(h.t, err)
		}
		for _, e := range entries {
			fd := must1(pinGet(t.pin(d, e.Name())))(h.t)
			h.t.Cleanup(func() { must(h.t, unix.Close(fd)) })
			o := must1(objectOf(d, fd))(h.t)
			id := fmt.Sprint(o.id)
			if d == linkDir {
				id += fmt.Sprintf(" runs %d", must1(linkInfoOf(fd))(h.t).Prog)
			}
			key := fmt.Sprintf("%s %s %s", kindOf(d), m, e.Name())
			if !ours(m, d, e.Name(), rec) {
				key = fmt.Sprintf("pin %s %s", m, t.pin(d, e.Name()))
			}
			s[key] = id
			if d == mapDir {
				fds[e.Name()] = fd
			}
		}
	}
	for name, id := range rec.Maps { // those that have lost their pins
		if fd, err := byID(mapDir, id); fds[name] == 0 && err == nil {
			h.t.Cleanup(func() { must(h.t, unix.Close(fd)) })
			fds[name] = fd
		}
	}
	h.contents(m, fds, s)
}

// contents adds what is in the maps.
func (h *host) contents(m Mode, fds map[string]int, s map[string]string) {
	h.t.Helper()
	for _, r := range programsOf(m) {
		var id uint32
		if r.tail != nil && mapLookup(fds[r.tail.array], r.tail.index, &id) == nil {
			s[fmt.Sprintf("tail call %s %s %s", m, r.tail.array, r.name)] = fmt.Sprint(id)
		}
	}
	if fd, ok := fds["km_config"]; ok {
		var c kmConfig
		must(h.t, mapLookup(fd, uint32(0), &c))
		s[fmt.Sprintf("settings %s km_config", m)] = fmt.Sprint(c)
	}
	if fd, ok := fds["km_node"]; ok {
		var c kwNode
		must(h.t, mapLookup(fd, uint32(0), &c))
		s[fmt.Sprintf("settings %s km_node", m)] = fmt.Sprint(c)
	}
	if fd, ok := fds["km_pstate"]; ok {
		must(h.t, withPstate(fd, func(p *kwPstate) {
			s[fmt.Sprintf("settings %s km_pstate", m)] = fmt.Sprint(p.exempt, p.native)
		}))
	}
	if fd, ok := fds["km_netns"]; ok {
		for _, c := range must1(netnsKeys(fd))(h.t) {
			var e kmNetns
			must(h.t, mapLookup(fd, c, &e))
			s[fmt.Sprintf("enrolment %s %d", m, c)] = fmt.Sprint(e)
		}
	}
}

// plan makes a plan, which must change nothing.
func (h *host) plan() *Plan {
	h.t.Helper()
	before, mounts := h.state(), must1(os.ReadFile("/proc/self/mountinfo"))(h.t)
	files := h.files()
	p := must1(MakePlan(&h.cfg))(h.t)
	if after := h.state(); !maps.Equal(before, after) {
		h.t.Errorf("before and after the plan:\n%v\n%v", before, after)
	}
	if after := must1(os.ReadFile("/proc/self/mountinfo"))(h.t); string(after) != string(mounts) {
		h.t.Errorf("mounts before and after the plan:\n%s\n%s", mounts, after)
	}
	if after := h.files(); !slices.Equal(files, after) {
		h.t.Errorf("files before and after the plan:\n%v\n%v", files, after)
	}
	return p
}

func (h *host) files() []string {
	h.t.Helper()
	var l []string
	for _, root := range []string{"/run", filepath.Dir(h.cfg.RunDir)} {
		must(h.t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
			if strings.HasPrefix(filepath.Base(path), "cgroup") {
				return filepath.SkipDir
			}
			l = append(l, path)
			return err
		}))
	}
	return l
}

// foretold makes a plan and an up, which must do what the plan says and nothing else.
func (h *host) foretold(start string) *Plan {
	h.t.Helper()
	p := h.plan()
	if p.Start != start {
		h.t.Errorf("start %q, want %q", p.Start, start)
	}
	before := h.state()
	must(h.t, h.up())
	h.hold(p, before, h.state())
	if again := h.plan(); len(again.Pending()) > 0 || again.Start != StartRestart {
		h.t.Errorf("pending after up: %+v", again.Pending())
	}
	return p
}

// hold compares a plan with what became of each thing.
func (h *host) hold(p *Plan, before, after map[string]string) {
	h.t.Helper()
	told := map[string]string{}
	for _, c := range p.Changes {
		key := fmt.Sprintf("%s %s %s", c.Kind, c.Mode, c.Name)
		if c.Kind == "directory" && c.Mode == "" && !strings.Contains(c.Name, "kmesh_node") {
			key = "made " + key
		}
		if told[key] != "" {
			h.t.Errorf("%s is told of twice: %s, %s", key, told[key], c.Action)
		}
		told[key] = c.Action
	}
	all := maps.Clone(before)
	maps.Copy(all, after)
	maps.Copy(all, told)
	for _, key := range sorted(all) {
		was, there := before[key]
		is, stays := after[key]
		did := "nothing"
		switch {
		case there && stays && was == is:
			did = ActionKeep
		case there && stays:
			did = ActionUpdate
		case stays:
			did = ActionCreate
		case there:
			did = ActionDelete
		}
		want := told[key]
		if kind, _, _ := strings.Cut(key, " "+string(otherMode(h.cfg.Mode))+" "); slices.Contains([]string{"tail call", "settings", "enrolment"}, kind) {
			continue // they go with their maps
		}
		switch {
		case want == ActionMigrate, want == ActionRebuild, want == ActionRepair && there:
			want = ActionUpdate
		case want == ActionRepair:
			want = ActionCreate
		case want == "" && strings.HasPrefix(key, "made "):
			want = ActionKeep // a plan tells of those that are to be made alone
		}
		if did != want {
			h.t.Errorf("%s: the plan says %q, up: %s\nwas %s\nis  %s", key, told[key], did, was, is)
		}
	}
}

// has asks for a change of the plan, and returns why.
func (p *Plan) has(t *testing.T, action, kind, name string) string {
	t.Helper()
	for _, c := range p.Changes {
		if c.Kind == kind && c.Name == name && c.Action == action {
			return c.Why
		}
	}
	t.Errorf("the plan has no %s of %s %s: %+v", action, kind, name, p.Pending())
	return ""
}
