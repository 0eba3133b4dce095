// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

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
	// Settings are those in force after install.
	Settings *Settings `json:"settings,omitempty"`
	// Changed are the files that were written or removed.
	Changed []string `json:"changed"`
	// Notes say what was left as it is, and why.
	Notes []string `json:"notes,omitempty"`
}

// maxList is far above any network configuration list.
const maxList = 1 << 20

// listSuffix ends the names of lists. What else runtimes read are single plugins.
const listSuffix = ".conflist"

// Install puts the program at self into the directory of plugins and our entry into the
// network that runtimes use: the first of the files, by name. The program comes first: a
// runtime that finds the entry finds it. Again, it changes what differs; settings that s
// does not say stay as the entry has them.
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
	if l.own() < 0 {
		s = s.over(defaults)
	}
	text, err := l.with(s)
	if err == nil {
		out.Settings, err = settingsIn(text)
	}
	if err != nil {
		return nil, rejected(file.path, err, "mend it, or begin anew: kmesh-node cni uninstall")
	}
	changed, err := copyProgram(self, out.Plugin)
	if err != nil {
		return nil, notReady("install plugin", out.Plugin, err, "make "+at.BinDir+" there and writable, or give --cni-bin-dir the directory of the runtime's plugins")
	}
	if changed {
		out.Changed = append(out.Changed, out.Plugin)
	}
	if bytes.Equal(text, file.data) {
		return out, nil
	}
	if err := file.write(text, out); err != nil {
		return nil, err
	}
	return out, nil
}

// defaults are the settings of an entry that was not there.
var defaults = Settings{FailurePolicy: Open, Timeout: Timeout.String(), LogLevel: logrus.WarnLevel.String()}

// settingsIn are those of our entry in a text.
func settingsIn(text []byte) (*Settings, error) {
	l, err := parseList(text)
	if err != nil {
		return nil, err
	}
	return l.inForce()
}

// write puts another text in the file's place, and says so in out.
func (c *confFile) write(text []byte, out *Outcome) error {
	err := c.replace(text)
	switch {
	case errors.Is(err, errEdited):
		return notReady("write network", c.path, err, "run it again")
	case err != nil:
		return notReady("write network", c.path, err, "make its directory writable")
	}
	out.Changed = append(out.Changed, c.path)
	return nil
}

// Uninstall takes our entry out of every network and removes the program, which stays
// while pods are there that it was called for: a runtime calls it once more for each, and
// fails to remove the pod where it is gone. inUse counts them, once no more can come.
// Nothing there is no error.
func Uninstall(at Place, inUse func() (int, error)) (*Outcome, error) {
	out := &Outcome{Plugin: filepath.Join(at.BinDir, Name), Changed: []string{}}
	files, err := at.files()
	if err != nil {
		return nil, err
	}
	var edits []func() error // once it is known that each can be made
	for _, path := range files {
		file, text, err := freed(path)
		if err != nil {
			return nil, err
		}
		if file != nil {
			edits = append(edits, func() error { return file.write(text, out) })
		}
	}
	for _, edit := range edits {
		if err := edit(); err != nil {
			return nil, err
		}
	}
	n, err := inUse()
	if err != nil {
		return nil, err
	}
	if n > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%s stays: the runtime calls it for %d pods that are there; run this again, or remove it, when they are gone", out.Plugin, n))
		return out, nil
	}
	err = unix.Unlink(out.Plugin) // os.Remove takes a directory, too
	switch {
	case err == nil:
		out.Changed = append(out.Changed, out.Plugin)
	case !errors.Is(err, os.ErrNotExist):
		return nil, notReady("remove plugin", out.Plugin, err, "remove it by hand")
	}
	return out, nil
}

// freed reads a file and returns its text without our entry; nil where it has none. What
// cannot be edited and may have it is an error: to remove the program fails every pod then.
func freed(path string) (*confFile, []byte, error) {
	file, err := read(path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, errNoFile):
		return nil, nil, nil
	case err != nil:
		return nil, nil, unread(path, err)
	}
	l, err := parseList(file.data)
	switch {
	case errors.Is(err, errSingle), err != nil && !bytes.Contains(file.data, []byte(Name)):
		return nil, nil, nil
	case err != nil:
		return nil, nil, rejected(path, err, "mend it, or take "+Name+" out of it by hand")
	case l.own() < 0:
		return nil, nil, nil
	}
	for l.own() >= 0 {
		if l, err = parseList(l.without()); err != nil {
			return nil, nil, rejected(path, fmt.Errorf("without %s: %w", Name, err), "remove the file, or put the network's plugin into it")
		}
	}
	return file, l.data, nil
}

// unread is an error about a file that runtimes read, perhaps.
func unread(path string, err error) error {
	if errors.Is(err, errLong) {
		return rejected(path, err, "take it out of the directory, if it is no network's")
	}
	return notReady("read network", path, err, "run as root")
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
		if slices.Contains([]string{".conf", listSuffix, ".json"}, filepath.Ext(e.Name())) && !e.IsDir() {
			l = append(l, filepath.Join(at.ConfDir, e.Name()))
		}
	}
	return l, nil
}

// passed says why runtimes pass over a file: libcni reads it for them.
func passed(path string, file *confFile) error {
	if filepath.Ext(path) == listSuffix {
		_, err := libcni.NetworkConfFromFile(path)
		return err
	}
	_, err := libcni.NetworkPluginConfFromBytes(file.data)
	return err
}

// network is the one that runtimes use, which has to be one that can be edited exactly.
func (at Place) network(out *Outcome) (*confFile, *list, error) {
	files, err := at.files()
	if err != nil {
		return nil, nil, err
	}
	for _, path := range files {
		file, err := read(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errNoFile) {
			return nil, nil, unread(path, err)
		}
		if err == nil {
			err = passed(path, file)
		}
		if err != nil {
			out.Notes = append(out.Notes, fmt.Sprintf("%s was passed over, as by CRI-O; containerd has no network before it is mended: %v", path, err))
			continue
		}
		if filepath.Ext(path) != listSuffix {
			return nil, nil, rejected(path, errSingle, `write it as a list, NAME.conflist: {"cniVersion": …, "name": …, "plugins": [ … ]}`)
		}
		l, err := parseList(file.data)
		if err != nil {
			return nil, nil, rejected(path, err, "write it in another way")
		}
		return file, l, nil
	}
	none := strings.Join(append([]string{"no network is configured there"}, out.Notes...), "; ")
	return nil, nil, notReady("find network", at.ConfDir, errors.New(none),
		"install the network's own plugin first, or give --cni-conf-dir the directory of the runtime's networks")
}

func rejected(path string, err error, remedy string) error {
	return &exit.Error{Code: exit.Rejected, Step: "read network", Object: path, Err: err, Remedy: remedy}
}

func notReady(step, object string, err error, remedy string) error {
	return &exit.Error{Code: exit.NotReady, Step: step, Object: object, Err: err, Remedy: remedy}
}
