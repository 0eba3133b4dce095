// SPDX-License-Identifier: Apache-2.0

package main

/*
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <bpf/bpf.h>

#define LINK_TYPE_SOCKMAP 14 // BPF_LINK_TYPE_SOCKMAP, which older headers lack

static int prog_info(int fd, struct bpf_prog_info *info, __u32 *ids, __u32 n)
{
	__u32 len = sizeof(*info);

	__builtin_memset(info, 0, len);
	info->nr_map_ids = n;
	info->map_ids = (__u64)(unsigned long)ids;
	return bpf_obj_get_info_by_fd(fd, info, &len);
}

static int link_info(int fd, __u32 *type, __u32 *prog, __u32 *attach)
{
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);
	int err = bpf_obj_get_info_by_fd(fd, &info, &len);

	if (err)
		return err;
	*type = info.type;
	*prog = info.prog_id;
	*attach = info.type == BPF_LINK_TYPE_CGROUP ? info.cgroup.attach_type : 0;
	return 0;
}

static int map_type(int fd, __u32 *type, __u32 *entries)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	int err = bpf_obj_get_info_by_fd(fd, &info, &len);

	*type = info.type;
	*entries = info.max_entries;
	return err;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fail names the object of a libbpf call that answered with a negative errno.
func fail(ret C.int, verb, object string) error {
	return fmt.Errorf("%s %s: %w", verb, object, unix.Errno(-ret))
}

// openPin opens what is pinned at path.
func openPin(path string) (int, error) {
	s := C.CString(path)
	defer C.free(unsafe.Pointer(s))
	fd := C.bpf_obj_get(s)
	if fd < 0 {
		return -1, fail(fd, "open pin", path)
	}
	return int(fd), nil
}

// progInfo is what the kernel says of a program; Nanos and Runs count only while
// statistics are enabled.
type progInfo struct {
	ID       uint32
	Name     string
	Verified uint32 // instructions that the verifier walked
	Nanos    uint64
	Runs     uint64
	Maps     []uint32 // ids
}

func readProg(fd int) (progInfo, error) {
	var info C.struct_bpf_prog_info
	ids := make([]C.__u32, 64)
	if ret := C.prog_info(C.int(fd), &info, &ids[0], C.__u32(len(ids))); ret < 0 {
		return progInfo{}, fail(ret, "read", "program info")
	}
	p := progInfo{
		ID:       uint32(info.id),
		Name:     C.GoString(&info.name[0]),
		Verified: uint32(info.verified_insns),
		Nanos:    uint64(info.run_time_ns),
		Runs:     uint64(info.run_cnt),
	}
	for _, id := range ids[:min(int(info.nr_map_ids), len(ids))] {
		p.Maps = append(p.Maps, uint32(id))
	}
	return p, nil
}

func openProg(id uint32) (int, error) {
	fd := C.bpf_prog_get_fd_by_id(C.__u32(id))
	if fd < 0 {
		return -1, fail(fd, "open program", fmt.Sprint(id))
	}
	return int(fd), nil
}

func openMap(id uint32) (int, error) {
	fd := C.bpf_map_get_fd_by_id(C.__u32(id))
	if fd < 0 {
		return -1, fail(fd, "open map", fmt.Sprint(id))
	}
	return int(fd), nil
}

// clearEntry zeroes value 0 of an ARRAY pinned at path, whose values have that size.
func clearEntry(path string, size int) error {
	fd, err := openPin(path)
	if err != nil {
		return err
	}
	var zero C.__u32
	value := make([]byte, size)
	if ret := C.bpf_map_update_elem(C.int(fd), unsafe.Pointer(&zero), unsafe.Pointer(&value[0]), C.BPF_ANY); ret < 0 {
		err = fail(ret, "write", path)
	}
	return errors.Join(err, unix.Close(fd))
}

func mapType(fd int) (kind, entries uint32, err error) {
	var t, n C.__u32
	if ret := C.map_type(C.int(fd), &t, &n); ret < 0 {
		return 0, 0, fail(ret, "read", "map info")
	}
	return uint32(t), uint32(n), nil
}

// innerMaps returns the ids of the maps that the map behind fd holds; none unless
// it is an array of maps.
func innerMaps(fd int) ([]uint32, error) {
	kind, entries, err := mapType(fd)
	if err != nil {
		return nil, err
	}
	if kind != C.BPF_MAP_TYPE_ARRAY_OF_MAPS {
		return nil, nil
	}
	var ids []uint32
	for key := range entries {
		var id uint32
		if C.bpf_map_lookup_elem(C.int(fd), unsafe.Pointer(&key), unsafe.Pointer(&id)) == 0 {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// A hook is a program and the place that it is attached to.
type hook struct {
	prog   int    // descriptor
	link   string // name of the pin it was found under, if any
	attach C.enum_bpf_attach_type
	cgroup bool // else it is a raw tracepoint, which the program itself names
}

// readHook takes a pinned link for a model: the hook that it returns attaches the
// same program in the same place. ok is false for a link on a map or on a device,
// which no connection of the benchmark's pods meets.
func readHook(path, name string) (h hook, ok bool, err error) {
	fd, err := openPin(path)
	if err != nil {
		return hook{}, false, err
	}
	defer closeFD(fd)
	var kind, prog, attach C.__u32
	if ret := C.link_info(C.int(fd), &kind, &prog, &attach); ret < 0 {
		return hook{}, false, fail(ret, "read link", path)
	}
	h = hook{link: name, attach: C.enum_bpf_attach_type(attach)}
	switch kind {
	case C.BPF_LINK_TYPE_CGROUP:
		h.cgroup = true
	case C.BPF_LINK_TYPE_TRACING, C.BPF_LINK_TYPE_RAW_TRACEPOINT:
	case C.LINK_TYPE_SOCKMAP, C.BPF_LINK_TYPE_XDP:
		return hook{}, false, nil
	default:
		return hook{}, false, fmt.Errorf("link %s: of kind %d, which the benchmark cannot make", path, kind)
	}
	h.prog, err = openProg(uint32(prog))
	return h, err == nil, err
}

// hookOf is the hook of a floor program, whose name says where it goes.
func hookOf(name string, prog int) (hook, error) {
	h := hook{prog: prog, link: name, cgroup: true}
	switch name {
	case "floor_return", "floor_lookup", "floor_rewrite":
		h.attach = C.BPF_CGROUP_INET4_CONNECT
	case "floor_sockops", "floor_closes":
		h.attach = C.BPF_CGROUP_SOCK_OPS
	case "floor_state":
		h.cgroup = false
	default:
		return hook{}, fmt.Errorf("floor program %s: its hook is not known", name)
	}
	return h, nil
}

// attachHook returns the descriptor of a new link; closing it detaches.
func attachHook(h hook, cgroup int) (int, error) {
	var fd C.int
	if h.cgroup {
		fd = C.bpf_link_create(C.int(h.prog), C.int(cgroup), h.attach, nil)
	} else {
		fd = C.bpf_raw_tracepoint_open(nil, C.int(h.prog))
	}
	if fd < 0 {
		return -1, fail(fd, "attach", "program "+h.link)
	}
	return int(fd), nil
}

// effective counts the programs that run for one attach type in a cgroup, those
// of its ancestors included.
func effective(cgroup int, attach C.enum_bpf_attach_type) int {
	n := C.__u32(0)
	C.bpf_prog_query(C.int(cgroup), attach, C.BPF_F_QUERY_EFFECTIVE, nil, nil, &n)
	return int(n)
}

// strangers counts programs of others on the hooks that are measured.
func strangers(cgroup int) int {
	return effective(cgroup, C.BPF_CGROUP_INET4_CONNECT) + effective(cgroup, C.BPF_CGROUP_SOCK_OPS)
}

// switchedOn counts the links of cgroups anywhere. While there is one, the kernel looks
// for programs of its kind at every connection of the host.
func switchedOn() int {
	n := 0
	for id := C.__u32(0); C.bpf_link_get_next_id(id, &id) == 0; {
		fd := C.bpf_link_get_fd_by_id(id)
		if fd < 0 {
			continue // it went
		}
		var kind, prog, attach C.__u32
		if C.link_info(fd, &kind, &prog, &attach) == 0 && kind == C.BPF_LINK_TYPE_CGROUP {
			n++
		}
		closeFD(int(fd))
	}
	return n
}

// enableStats turns run statistics on until the descriptor is closed.
func enableStats() (int, error) {
	fd := C.bpf_enable_stats(C.BPF_STATS_RUN_TIME)
	if fd < 0 {
		return -1, fail(fd, "enable", "run statistics")
	}
	return int(fd), nil
}

// closeFD closes a descriptor of this process's own; close of a valid one does not
// fail in a way that anything could be done about.
func closeFD(fd int) {
	if fd >= 0 {
		C.close(C.int(fd))
	}
}

// linkProg returns a descriptor of the program of a pinned link.
func linkProg(path string) (int, error) {
	fd, err := openPin(path)
	if err != nil {
		return -1, err
	}
	defer closeFD(fd)
	var kind, prog, attach C.__u32
	if ret := C.link_info(C.int(fd), &kind, &prog, &attach); ret < 0 {
		return -1, fail(ret, "read link", path)
	}
	return openProg(uint32(prog))
}
