// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <bpf/bpf.h>
*/
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// linkType is the kernel's type of a link for each kind of hook.
var linkType = map[hookKind]uint32{
	onCgroup:        C.BPF_LINK_TYPE_CGROUP,
	onBtfTracepoint: C.BPF_LINK_TYPE_RAW_TRACEPOINT,
	onRawTracepoint: C.BPF_LINK_TYPE_RAW_TRACEPOINT,
	onTracepoint:    C.BPF_LINK_TYPE_PERF_EVENT,
	onSockMap:       linkTypeSockMap,
	onPodNIC:        C.BPF_LINK_TYPE_XDP,
}

// cgroup is the target of the rows that hook one.
type cgroup struct {
	fd int
	id uint64
}

// openCgroup opens a cgroup2 directory; its inode number is the cgroup's id.
func openCgroup(path string) (cgroup, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return cgroup{fd: -1}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return cgroup{fd: -1}, errors.Join(err, unix.Close(fd))
	}
	return cgroup{fd, st.Ino}, nil
}

// attach makes a new link of prog at h.
func (h hook) attach(prog int, cg cgroup) (int, error) {
	switch h.kind {
	case onCgroup:
		return linkCreate(prog, cg.fd, h.attachType)
	case onBtfTracepoint:
		return linkCreate(prog, 0, h.attachType)
	case onRawTracepoint:
		return rawTracepointOpen(h.target, prog)
	case onTracepoint:
		return attachTracepoint(prog, h)
	}
	return -1, fmt.Errorf("hook kind %d has no link", h.kind)
}

// attachTracepoint goes through a perf event. The link holds the event; a kernel
// before 5.15 has no such link, and what it has instead cannot be pinned.
func attachTracepoint(prog int, h hook) (int, error) {
	id, err := tracepointID(h.target)
	if err != nil {
		return -1, err
	}
	event, err := tracepointOpen(id)
	if err != nil {
		return -1, fmt.Errorf("open perf event: %w", err)
	}
	link, err := linkCreate(prog, event, h.attachType)
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("%w (a link of a tracepoint needs Linux 5.15)", err)
	}
	if err == nil {
		err = unix.IoctlSetInt(event, unix.PERF_EVENT_IOC_ENABLE, 0)
	}
	if closeErr := unix.Close(event); err == nil {
		err = closeErr
	}
	if err != nil && link >= 0 {
		return -1, errors.Join(err, unix.Close(link))
	}
	return link, err
}

// tracepointID reads the id from tracefs. A kernel that is locked down for
// confidentiality keeps tracefs empty, and a mount of it that ends may take the kernel
// with it (seen on 6.12).
func tracepointID(target string) (int, error) {
	mode, err := lockdown()
	if err != nil {
		return 0, err
	}
	if mode == confidentiality {
		return 0, fmt.Errorf("find tracepoint %s: the kernel is locked down (%s), which closes tracefs", target, mode)
	}
	text, err := readDetached("tracefs", "events/"+target+"/id")
	if err != nil {
		return 0, fmt.Errorf("find tracepoint %s: %w", target, err)
	}
	return strconv.Atoi(string(bytes.TrimSpace(text)))
}

// matches says whether a link is of the row's kind and on its target.
func (h hook) matches(l linkInfo, cg cgroup) bool {
	if l.Type != linkType[h.kind] {
		return false
	}
	return h.kind != onCgroup || l.Attach == h.attachType && l.Cgroup == cg.id
}

// swaps says whether a link there takes another program in place.
func (h hook) swaps() bool { return h.kind == onCgroup || h.kind == onSockMap }

// remedy says what to do about a failed attach.
func (h hook) remedy(err error) string {
	switch {
	case h.kind == onCgroup && errors.Is(err, unix.EPERM):
		return "another's program is attached there for itself alone (see: bpftool cgroup tree); detach it, or give --cgroup2-path another cgroup"
	case h.kind == onTracepoint:
		return "use --connect-ret auto"
	case h.kind == onRawTracepoint, h.kind == onBtfTracepoint:
		return "use --connect-ret off"
	}
	return ""
}

// String names the hook to people.
func (h hook) String() string {
	switch h.kind {
	case onCgroup:
		return attachTypeName(h.attachType)
	case onBtfTracepoint:
		return "tp_btf/" + h.target
	case onRawTracepoint:
		return "raw_tracepoint.w/" + h.target
	case onTracepoint:
		return "tracepoint/" + h.target
	case onSockMap:
		return attachTypeName(h.attachType) + " of " + h.target
	case onPodNIC:
		return "xdp on the devices of pods"
	}
	return "tail call"
}

func byID(d dir, id uint32) (int, error) {
	var fd C.int
	switch d {
	case mapDir:
		fd = C.bpf_map_get_fd_by_id(C.__u32(id))
	case progDir:
		fd = C.bpf_prog_get_fd_by_id(C.__u32(id))
	case linkDir:
		fd = C.bpf_link_get_fd_by_id(C.__u32(id))
	}
	return int(fd), errno(int(fd))
}
