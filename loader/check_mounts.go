// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

func (r *Report) filesystem(fs filesystem, path string) {
	f := Finding{Name: fs.name + " at " + path, Required: true, OK: true, Detail: "mounted"}
	there, err := fs.check(path)
	var e *exit.Error
	switch {
	case errors.As(err, &e):
		f.OK, f.Detail, f.Remedy = false, e.Err.Error(), e.Remedy
	case !there:
		f.Detail = "not mounted: `up` mounts it"
	}
	r.add(f)
	if err == nil && fs.name == bpffs.name {
		r.lifetime(path, there)
	}
}

// lifetime finds a bpffs that only this process's mount namespace has: when the last
// process of it ends, it goes and takes every pin along.
func (r *Report) lifetime(path string, there bool) {
	f := Finding{Name: "lifetime of " + path, OK: true, Detail: "in the host's mount namespace", For: "pins"}
	own, err := inHostMounts(path, there)
	switch {
	case err != nil:
		f.Detail = "not told: " + err.Error()
	case !own && there:
		f.OK, f.Detail = false, "mounted in this process's own mount namespace alone: it goes with that, and takes every pin along"
	case !own:
		f.OK, f.Detail = false, "`up` would mount it in this process's own mount namespace, where it goes with that and takes every pin along"
	}
	if !f.OK {
		f.Remedy = "mount it for the host: nsenter --target 1 --mount mount -t bpf bpf " + path +
			"; in a unit leave out PrivateMounts, PrivateTmp, Protect… and what else makes a namespace"
	}
	r.add(f)
}

// inHostMounts says whether what is mounted at path, or would be, is in the mount
// namespace of the host's first process too.
func inHostMounts(path string, there bool) (bool, error) {
	first, err := os.ReadFile("/proc/1/mountinfo")
	if err != nil {
		return false, err
	}
	own, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	if there {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return false, err
		}
		return hasDevice(string(first), fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))), nil
	}
	// A mount below a shared one appears in its peers.
	m := mountAbove(string(own), nearest(path))
	if peer := sharedWith(m); peer != "" {
		for line := range strings.Lines(string(first)) {
			if sharedWith(line) == peer {
				return true, nil
			}
		}
	}
	return sameMounts(string(first), string(own)), nil
}

// sameMounts says whether two mountinfos are of one namespace: a mount's id is the whole
// kernel's, and a copy of a namespace has other ones.
func sameMounts(a, b string) bool {
	root := mountAbove(b, "/")
	for line := range strings.Lines(a) {
		if f, g := strings.Fields(line), strings.Fields(root); len(f) > 0 && len(g) > 0 && f[0] == g[0] {
			return true
		}
	}
	return false
}

// sameNamespace says whether this process shares a namespace with the host's first one.
func sameNamespace(kind string) (bool, error) {
	own, err := identityOf("/proc/self/ns/" + kind)
	if err != nil {
		return false, err
	}
	first, err := identityOf("/proc/1/ns/" + kind)
	return own == first, err
}

// hasDevice says whether anything of the device is mounted, by a mountinfo.
func hasDevice(mountinfo, device string) bool {
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == device {
			return true
		}
	}
	return false
}

// nearest is path, or the first directory above it that exists.
func nearest(path string) string {
	for p := filepath.Clean(path); ; p = filepath.Dir(p) {
		if real, err := filepath.EvalSymlinks(p); err == nil || p == "/" {
			return real
		}
	}
}

// mountAbove is the line of mountinfo whose mount a path is in: the last of the longest.
func mountAbove(mountinfo, path string) (line string) {
	longest := -1
	for l := range strings.Lines(mountinfo) {
		f := strings.Fields(l)
		if len(f) < 5 {
			continue
		}
		at := unescape(f[4])
		if (at == "/" || isBelow(path, at)) && len(at) >= longest {
			longest, line = len(at), l
		}
	}
	return line
}

// sharedWith is the group of peers of a line of mountinfo, "" for none.
func sharedWith(line string) string {
	for _, f := range strings.Fields(line) {
		if f == "-" {
			break
		}
		if v, ok := strings.CutPrefix(f, "shared:"); ok {
			return v
		}
	}
	return ""
}

// cgroup says whose processes the cgroup holds.
func (r *Report) cgroup(path string) {
	there, err := cgroup2.check(path)
	if err != nil {
		return // filesystem has said so
	}
	f := Finding{Name: "processes of " + path, OK: true, Detail: "all: it is the root of cgroup2", For: "whose connections are managed"}
	var st unix.Stat_t
	switch {
	case !there:
		if same, err := sameNamespace("cgroup"); err == nil && !same {
			f.OK, f.Detail = false, "`up` would mount this process's own cgroup namespace there: processes outside of it are not managed"
			f.Remedy = "run it in the host's cgroup namespace, or mount cgroup2 there from it"
		}
	default:
		if err := unix.Stat(path, &st); err != nil {
			f.OK, f.Detail, f.Remedy = false, err.Error(), "make the path readable"
			break
		}
		if st.Ino == rootCgroup {
			break
		}
		o, err := findOutside(path, nil, true)
		switch {
		case err != nil:
			f.OK, f.Detail, f.Remedy = false, err.Error(), "give --cgroup2-path another path"
		case o != nil:
			f.OK = false
			f.Detail = fmt.Sprintf("those in a cgroup below the root: %d others are outside, such as %s", o.Count, o.Examples[0])
			f.Remedy = "start what is to be managed below it, or give --cgroup2-path the root of cgroup2"
		default:
			f.Detail = "all that are in sight, though it is not the root of cgroup2"
		}
	}
	r.add(f)
	r.classes(path)
}

// classes finds what keeps a kernel before 5.15 from running this cgroup's programs.
func (r *Report) classes(path string) {
	why, remedy, err := unseen(path)
	if err != nil {
		why, remedy = err.Error(), "mount /proc"
	}
	if why != "" {
		r.add(Finding{Name: "cgroup of a socket", Detail: why, Remedy: remedy, For: "programs on a cgroup below the root"})
	}
}
