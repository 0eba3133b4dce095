// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Place is where a container runtime looks for plugins and networks.
type Place struct {
	ConfDir, BinDir string
}

// Outcome is what install or uninstall found and did.
type Outcome struct {
	// Network is the file that runtimes use, Plugin the program.
	Network string `json:"network,omitempty"`
	Plugin  string `json:"plugin"`
	// Changed are the files that were written or removed.
	Changed []string `json:"changed"`
	// Notes say what was left as it is, and why.
	Notes []string `json:"notes,omitempty"`
}

// maxList is far above any network configuration list.
const maxList = 1 << 20

// Install puts the program at self into the directory of plugins and our entry into the
// network that runtimes use: the first of the files, by name. The program comes first: a
// runtime that finds the entry finds it. Again, it changes what differs.
func Install(at Place, self string, s Settings) (*Outcome, error) {
	out := &Outcome{Plugin: filepath.Join(at.BinDir, Name), Changed: []string{}}
	file, l, err := at.network(out)
	if err != nil {
		return nil, err
	}
	out.Network = file.path
	if err := l.chains(); err != nil {
		return nil, rejected(file.path, err, "")
	}
	text, err := l.with(s)
	if err != nil {
		return nil, rejected(file.path, err, "")
	}
	changed, err := copyProgram(self, out.Plugin)
	if err != nil {
		return nil, notReady("install plugin", out.Plugin, err, "make "+at.BinDir+", or give --cni-bin-dir the directory of the runtime's plugins")
	}
	if changed {
		out.Changed = append(out.Changed, out.Plugin)
	}
	if bytes.Equal(text, file.data) {
		return out, nil
	}
	if err := file.replace(text); err != nil {
		return nil, notReady("write network", file.path, err, "run it again")
	}
	out.Changed = append(out.Changed, file.path)
	return out, nil
}

// Uninstall takes our entry out of every network and removes the program, which stays
// while a pod is there that it was called for (inUse): a runtime calls it once more for
// each, and fails to remove the pod where it is gone. Nothing there is no error.
func Uninstall(at Place, inUse int) (*Outcome, error) {
	out := &Outcome{Plugin: filepath.Join(at.BinDir, Name), Changed: []string{}}
	files, err := at.files()
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		file, l, err := read(path)
		if err != nil {
			continue // never ours
		}
		changed := false
		for l.own() >= 0 {
			changed = true
			if l, err = parseList(l.without()); err != nil {
				return nil, rejected(path, fmt.Errorf("without %s: %w", Name, err), "remove the file, or put the network's plugin into it")
			}
		}
		if !changed {
			continue
		}
		if err := file.replace(l.data); err != nil {
			return nil, notReady("write network", path, err, "run it again")
		}
		out.Changed = append(out.Changed, path)
	}
	if inUse > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%s stays: the runtime calls it for %d pods that are there; run this again when they are gone", out.Plugin, inUse))
		return out, nil
	}
	err = os.Remove(out.Plugin)
	switch {
	case err == nil:
		out.Changed = append(out.Changed, out.Plugin)
	case !errors.Is(err, os.ErrNotExist):
		return nil, notReady("remove plugin", out.Plugin, err, "remove it by hand")
	}
	return out, nil
}

// files lists those that runtimes read, in their order.
func (at Place) files() ([]string, error) {
	entries, err := os.ReadDir(at.ConfDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, notReady("list networks", at.ConfDir, err, "")
	}
	var l []string
	for _, e := range entries {
		if slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(e.Name())) && !e.IsDir() {
			l = append(l, filepath.Join(at.ConfDir, e.Name()))
		}
	}
	return l, nil
}

// network is the one that runtimes use. They pass over files that they cannot read.
func (at Place) network(out *Outcome) (*confFile, *list, error) {
	files, err := at.files()
	if err != nil {
		return nil, nil, err
	}
	for _, path := range files {
		file, l, err := read(path)
		switch {
		case err == nil:
			return file, l, nil
		case errors.Is(err, errSingle):
			return nil, nil, rejected(path, err, `write it as a list, NAME.conflist: {"cniVersion": …, "name": …, "plugins": [ … ]}`)
		case errors.Is(err, os.ErrPermission):
			return nil, nil, notReady("read network", path, err, "run as root")
		}
		out.Notes = append(out.Notes, fmt.Sprintf("%s was passed over, as runtimes do: %v", path, err))
	}
	return nil, nil, notReady("find network", at.ConfDir, errors.New("no network is configured there"),
		"install the network's own plugin first, or give --cni-conf-dir the directory of the runtime's networks")
}

func rejected(path string, err error, remedy string) error {
	return &exit.Error{Code: exit.Rejected, Step: "read network", Object: path, Err: err, Remedy: remedy}
}

func notReady(step, object string, err error, remedy string) error {
	return &exit.Error{Code: exit.NotReady, Step: step, Object: object, Err: err, Remedy: remedy}
}
