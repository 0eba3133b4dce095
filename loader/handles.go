// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Handles are open descriptors of the maps of one mode, by name.
type Handles struct {
	cfg *Config
	fds map[string]int
}

// FD is the descriptor of a map, -1 where the mode has no map of that name. It is
// valid until Close.
func (h *Handles) FD(name string) int {
	if fd, ok := h.fds[name]; ok {
		return fd
	}
	return -1
}

// OpenPinned opens every map that is pinned where cfg says. Nothing there: an
// *exit.Error of code NotUp around ErrNotUp; laid out by another build: one of code Load. Close frees the descriptors.
func OpenPinned(cfg *Config) (*Handles, error) {
	t := cfg.tree()
	h := &Handles{cfg: cfg, fds: map[string]int{}}
	layouts, err := newKnown(cfg)
	if err != nil {
		return nil, err
	}
	for _, m := range mapsOf(cfg.Mode) {
		fd, err := pinGet(t.pin(mapDir, m.name))
		if err == nil {
			h.fds[m.name] = fd
			if err := layouts.check(m, fd); err != nil {
				h.Close()
				return nil, codedLoad("open map", m.name, err)
			}
			continue
		}
		h.Close()
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EINVAL):
			return nil, notUp("open map "+m.name, t)
		case errors.Is(err, os.ErrPermission):
			if caps := capable(); caps != nil {
				return nil, caps
			}
		}
		return nil, notReady("open map", t.pin(mapDir, m.name), err, "run: kmesh-node down, then up again")
	}
	return h, nil
}

// Close frees the descriptors and takes them out of the environment again.
func (h *Handles) Close() {
	for _, m := range mapTable {
		fd, ok := h.fds[m.name]
		if !ok {
			continue
		}
		if m.env != "" && os.Getenv(m.env+"_FD") == itoa(fd) {
			for _, name := range []string{m.env, m.env + "_FD"} {
				if err := os.Unsetenv(name); err != nil {
					panic("unset " + name + ": " + err.Error()) // only a name with '=' or NUL fails
				}
			}
		}
		if err := unix.Close(fd); err != nil {
			panic("close map " + m.name + ": " + err.Error()) // a descriptor of ours that is not open: a bug
		}
	}
	h.fds = nil
}

// Variable is one of the hand-off.
type Variable struct{ Name, Value string }

// Variables returns the hand-off: for each map of the store its documented name
// with the map's id, and, with live, the same name with _FD and the descriptor. Only
// ads mode has a store in C to hand maps to.
func (h *Handles) Variables(live bool) ([]Variable, error) {
	if h.cfg.Mode != Ads {
		return nil, &exit.Error{Code: exit.Usage, Step: "hand-off", Object: "mode " + string(h.cfg.Mode),
			Err: errors.New("only ads mode hands its maps over"), Remedy: "use --mode ads"}
	}
	var l []Variable
	for _, m := range mapsOf(h.cfg.Mode) {
		if m.env == "" {
			continue
		}
		info, err := mapInfoOf(h.fds[m.name])
		if err != nil {
			return nil, loadError("hand-off", m.name, fmt.Errorf("ask for its id: %w", err), "run it again")
		}
		l = append(l, Variable{m.env, itoa(int(info.ID))})
		if live {
			l = append(l, Variable{m.env + "_FD", itoa(h.fds[m.name])})
		}
	}
	return l, nil
}

// ApiEnvCfg puts the hand-off with live descriptors into this process's
// environment, where the C store reads it.
func (h *Handles) ApiEnvCfg() error {
	vars, err := h.Variables(true)
	if err != nil {
		return err
	}
	for _, v := range vars {
		if err := os.Setenv(v.Name, v.Value); err != nil {
			return fmt.Errorf("set %s: %w", v.Name, err)
		}
	}
	return nil
}

// Exec replaces this process with the command argv, found at path, which inherits
// the hand-off and the descriptors of the store's maps, and no other: a link's
// would keep it attached. It returns only on failure.
func (h *Handles) Exec(path string, argv []string) error {
	if err := h.ApiEnvCfg(); err != nil {
		return err
	}
	for _, m := range mapsOf(h.cfg.Mode) {
		if m.env == "" {
			continue
		}
		if _, err := unix.FcntlInt(uintptr(h.fds[m.name]), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("let map %s be inherited: %w", m.name, err)
		}
	}
	return fmt.Errorf("exec %s: %w", path, unix.Exec(path, argv, os.Environ()))
}
