// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Namespace is a network namespace that is enrolled.
type Namespace struct {
	Cookie uint64 `json:"cookie"`
	// Paths are where the namespace is found: where it is mounted, under /run/netns
	// in general, and one process in it. Empty: nothing of it is alive, or not in
	// sight from here.
	Paths []string `json:"paths,omitempty"`
	// Since is when it was enrolled, in ns of the monotonic clock.
	Since uint64 `json:"since_ns"`
	// Workload mode: by which addresses it was found among the workloads, and
	// whether its pod serves as waypoint.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Waypoint  bool         `json:"waypoint,omitempty"`
}

var (
	errNotEnrolled = errors.New("not enrolled")
	errHostNetns   = errors.New("this is the host's own network namespace")
)

// Enroll takes the network namespace at path (/proc/PID/ns/net, /run/netns/NAME)
// under management and returns its cookie once the kernel's map has it; in workload
// mode once its devices are judged, too. The namespace of the host's first process
// is refused without force. Repeated, it repairs what is not as it should be.
func (h *Handles) Enroll(path string, force bool) (cookie uint64, err error) {
	cookie, host, err := namespaceAt("enroll", path)
	if err != nil {
		return 0, err
	}
	if host && !force {
		return 0, &exit.Error{Code: exit.Usage, Step: "enroll", Object: path,
			Err: errHostNetns, Remedy: "if that is meant, add --force"}
	}
	return cookie, h.enrollAt(cookie, path, h.refresh)
}

// enrollAt enrols a namespace and has follow do what follows from that; a failure of
// either leaves what was there.
func (h *Handles) enrollAt(cookie uint64, path string, follow func() error) error {
	var u undo
	err := h.withPods("enroll", func() (err error) {
		if h.cfg.Mode == Workload {
			err = h.enrollPod(cookie, path, &u)
		} else {
			err = h.enter(cookie, path, &u, func(*kmNetns) error { return nil })
		}
		if err != nil {
			err = errors.Join(err, u.unwind())
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := follow(); err != nil {
		return errors.Join(err, h.withPods("enroll", u.unwind))
	}
	return nil
}

// withPods does what changes enrolment while no `up` and no other one does. The
// maps are still those in use then.
func (h *Handles) withPods(step string, do func() error) (err error) {
	l, err := takePodsLock(h.cfg, step)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	t := h.cfg.tree()
	fd, err := pinGet(t.pin(mapDir, "km_netns"))
	if err != nil {
		return notUp(step, t)
	}
	now, err := objectOf(mapDir, fd)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return err
	}
	ours, err := objectOf(mapDir, h.fds["km_netns"])
	if err == nil && ours != now {
		err = &exit.Error{Code: exit.NotUp, Step: step, Object: "km_netns", Err: errors.New("another up made it anew"), Remedy: "run it again"}
	}
	if err != nil {
		return err
	}
	return do()
}

// enter puts a namespace into km_netns, described by describe. u takes that back.
func (h *Handles) enter(cookie uint64, path string, u *undo, describe func(*kmNetns) error) error {
	fd := h.fds["km_netns"]
	var have kmNetns
	err := mapLookup(fd, cookie, &have)
	entry, old := have, have
	known := err == nil
	if !known {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return fmt.Errorf("enroll: read clock: %w", err)
		}
		entry = newKmNetns(uint64(now.Nano()))
	}
	if err := describe(&entry); err != nil {
		return err
	}
	if known && entry == have {
		return enrollError(path, h.slotAdd(cookie))
	}
	err = fault("enroll")
	if err == nil {
		err = mapUpdate(fd, cookie, entry)
	}
	if err != nil {
		e := &exit.Error{Code: exit.Attach, Step: "enroll", Object: path, Err: fmt.Errorf("write km_netns: %w", err)}
		if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) {
			e.Err = fmt.Errorf("%d network namespaces are enrolled, the limit: %w", maxNetns, err)
			e.Remedy = "unenroll those that are gone (see: kmesh-node get enrolled)"
		}
		return e
	}
	u.push("write km_netns back", func() error {
		if known {
			return mapUpdate(fd, cookie, old)
		}
		return h.release(cookie)
	})
	// The acknowledgement is what the programs will read, not that we wrote. The
	// flags are the writer's of the configuration, too.
	if err := mapLookup(fd, cookie, &have); err != nil || have.since != entry.since {
		return &exit.Error{Code: exit.Attach, Step: "enroll", Object: path,
			Err: oneLine(errors.Join(errors.New("km_netns does not hold what was written"), err)), Remedy: "run it again"}
	}
	return enrollError(path, h.slotAdd(cookie))
}

func enrollError(path string, err error) error {
	if err == nil {
		return nil
	}
	return attachError("enroll", path, err, "")
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
	unknown, err := h.unenroll(cookie)
	if err != nil {
		return err
	}
	object := namespaceObject(cookie)
	if unknown {
		return &exit.Error{Code: exit.NotUp, Step: "unenroll", Object: object, Err: errNotEnrolled}
	}
	// The next writer brings up to date what this one could not.
	if err := h.refresh(); err != nil {
		h.cfg.Log.Warnf("%s is released; %v", object, err)
	}
	return nil
}

func namespaceObject(cookie uint64) string { return "namespace " + strconv.FormatUint(cookie, 10) }

// unenroll takes a namespace out of km_netns, where it is in it, and xdpauth off its devices.
func (h *Handles) unenroll(cookie uint64) (unknown bool, err error) {
	object := namespaceObject(cookie)
	err = h.withPods("unenroll", func() error {
		var entry kmNetns
		if err := mapLookup(h.fds["km_netns"], cookie, &entry); err != nil && !errors.Is(err, os.ErrNotExist) {
			return attachError("unenroll", object, fmt.Errorf("read km_netns: %w", err), "")
		}
		err := h.release(cookie)
		unknown = errors.Is(err, errNotEnrolled)
		if unknown {
			err = nil
		}
		if h.cfg.Mode == Workload && err == nil {
			err = h.releaseNICs(cookie)
		}
		if err == nil {
			return nil
		}
		if entry.since != 0 { // it stays enrolled, with the devices that are judged
			err = errors.Join(err, h.putBack(cookie, entry))
		}
		return attachError("unenroll", object, oneLine(err), "run it again")
	})
	return unknown, err
}

// putBack undoes release.
func (h *Handles) putBack(cookie uint64, entry kmNetns) error {
	if err := mapUpdate(h.fds["km_netns"], cookie, entry); err != nil {
		return fmt.Errorf("write km_netns back: %w", err)
	}
	return h.slotAdd(cookie)
}

// release takes a namespace out of km_netns; errNotEnrolled where it is not in it.
func (h *Handles) release(cookie uint64) error {
	if err := h.slotAsk(cookie); err != nil {
		return err
	}
	err := fault("release")
	if err == nil {
		err = mapDelete(h.fds["km_netns"], cookie)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unenroll namespace %d: %w", cookie, err)
	}
	if slotErr := h.slotDrop(cookie); slotErr != nil {
		return slotErr
	}
	if err != nil {
		return errNotEnrolled
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
		l = append(l, Namespace{Cookie: c, Paths: where[c], Since: uint64(v.since),
			Addresses: v.addresses(), Waypoint: v.waypoint()})
	}
	return l, nil
}

// findNamespaces returns the paths of the live namespaces by cookie: where they are
// mounted, and for each the first process that is in it.
func findNamespaces() (map[uint64][]string, error) {
	paths, err := mountedNamespaces()
	if err != nil {
		return nil, err
	}
	// To list the directory ns of another user's process takes more than to pass it.
	processes, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		paths = append(paths, p+"/ns/net")
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

// mountedNamespaces lists the names that network namespaces have as files.
func mountedNamespaces() ([]string, error) {
	var l []string
	_, err := readMounts(func(m *mountPoint) bool {
		if m.fstype == "nsfs" && strings.HasPrefix(m.fsRoot, "net:") && !slices.Contains(l, m.path) {
			l = append(l, m.path)
		}
		return false
	})
	return l, err
}
