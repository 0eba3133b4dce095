// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Namespace is a network namespace that is enrolled.
type Namespace struct {
	Cookie uint64 `json:"cookie"`
	// Paths are where the namespace is found: names under /run/netns, and one
	// process in it. Empty: nothing of it is alive, or not in sight from here.
	Paths []string `json:"paths,omitempty"`
	// Since is when it was enrolled, in ns of the monotonic clock.
	Since uint64 `json:"since_ns"`
}

// Enroll takes the network namespace at path (/proc/PID/ns/net, /run/netns/NAME)
// under management and returns its cookie once the kernel's map has it. The
// namespace of the host's first process is refused without force.
func (h *Handles) Enroll(path string, force bool) (uint64, error) {
	cookie, host, err := namespaceAt("enroll", path)
	if err != nil {
		return 0, err
	}
	if host && !force {
		return 0, &exit.Error{Code: exit.Usage, Step: "enroll", Object: path,
			Err: errors.New("this is the host's own network namespace"), Remedy: "if that is meant, add --force"}
	}
	fd := h.fds["km_netns"]
	var have kmNetns
	if err := mapLookup(fd, cookie, &have); err == nil {
		return cookie, h.slotAdd(cookie)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("enroll: read clock: %w", err)
	}
	entry := newKmNetns(uint64(now.Nano()))
	if err := mapUpdate(fd, cookie, entry); err != nil {
		e := &exit.Error{Code: exit.Unexpected, Step: "enroll", Object: path, Err: err}
		if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) {
			e.Err = fmt.Errorf("%d network namespaces are enrolled, the limit: %w", maxNetns, err)
			e.Remedy = "unenroll those that are gone (see: kmesh-node get enrolled)"
		}
		return 0, e
	}
	// The acknowledgement is what the programs will read, not that we wrote.
	if err := mapLookup(fd, cookie, &have); err != nil || have != entry {
		return 0, &exit.Error{Code: exit.Unexpected, Step: "enroll", Object: path,
			Err: errors.Join(errors.New("the map does not hold what was written"), err), Remedy: "run it again"}
	}
	return cookie, h.slotAdd(cookie)
}

// Unenroll releases the namespace at path. One that is not enrolled is an
// *exit.Error of code NotUp.
func (h *Handles) Unenroll(path string) (uint64, error) {
	cookie, _, err := namespaceAt("unenroll", path)
	if err != nil {
		return 0, err
	}
	return cookie, h.UnenrollCookie(cookie)
}

// UnenrollCookie is Unenroll for a namespace that may be gone.
func (h *Handles) UnenrollCookie(cookie uint64) error {
	if err := h.slotAsk(cookie); err != nil {
		return err
	}
	err := mapDelete(h.fds["km_netns"], cookie)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unenroll namespace %d: %w", cookie, err)
	}
	if slotErr := h.slotDrop(cookie); slotErr != nil {
		return slotErr
	}
	if err != nil {
		return &exit.Error{Code: exit.NotUp, Step: "unenroll", Object: "namespace " + strconv.FormatUint(cookie, 10),
			Err: errors.New("not enrolled")}
	}
	return nil
}

// Enrolled lists the enrolled namespaces by cookie, and where they are found.
func (h *Handles) Enrolled() ([]Namespace, error) {
	fd := h.fds["km_netns"]
	keys, err := netnsKeys(fd)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	where, err := findNamespaces()
	if err != nil {
		return nil, err
	}
	slices.Sort(keys)
	var l []Namespace
	for _, c := range keys {
		var v kmNetns
		if err := mapLookup(fd, c, &v); errors.Is(err, os.ErrNotExist) {
			continue // left in between
		} else if err != nil {
			return nil, fmt.Errorf("read km_netns: %w", err)
		}
		l = append(l, Namespace{Cookie: c, Paths: where[c], Since: uint64(v.since)})
	}
	return l, nil
}

// findNamespaces returns the paths of the live namespaces by cookie: their names,
// and for each the first process that is in it.
func findNamespaces() (map[uint64][]string, error) {
	var paths []string
	for _, pattern := range []string{"/run/netns/*", "/proc/[1-9]*/ns/net"} {
		l, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		paths = append(paths, l...)
	}
	where := map[uint64][]string{}
	seen := map[[2]uint64]bool{}
	for _, p := range paths {
		var st unix.Stat_t
		if unix.Stat(p, &st) != nil {
			continue // the process has ended
		}
		id := [2]uint64{uint64(st.Dev), st.Ino}
		if filepath.Base(p) == "net" && seen[id] {
			continue
		}
		seen[id] = true
		c, err := cookieAt(p)
		if err != nil {
			continue // not a namespace, or gone by now
		}
		where[c] = append(where[c], p)
	}
	return where, nil
}
