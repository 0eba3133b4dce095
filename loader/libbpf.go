// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

// BPF_LINK_TYPE_SOCKMAP, and struct { __u32 map_id, attach_type; } of that name
// beside xdp: in the headers of Linux 6.12.
#define LINK_TYPE_SOCKMAP 14

static __u64 link_cgroup(const struct bpf_link_info *i) { return i->cgroup.cgroup_id; }
static __u32 link_attach(const struct bpf_link_info *i)
{
	switch (i->type) {
	case BPF_LINK_TYPE_CGROUP:
		return i->cgroup.attach_type;
	case BPF_LINK_TYPE_TRACING:
		return i->tracing.attach_type;
	case LINK_TYPE_SOCKMAP:
		return ((const __u32 *)&i->xdp)[1];
	default:
		return 0;
	}
}
static __u32 link_sockmap(const struct bpf_link_info *i) { return ((const __u32 *)&i->xdp)[0]; }
static __u32 link_ifindex(const struct bpf_link_info *i) { return i->xdp.ifindex; }
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

// What libbpfgo lacks: links and pins by descriptor, and what the kernel knows of
// an object. Every descriptor that these return is close-on-exec.

func errno[T ~int32 | ~int](rc T) error {
	if rc >= 0 {
		return nil
	}
	return syscall.Errno(-rc)
}

func pinGet(path string) (int, error) {
	c := C.CString(path)
	defer C.free(unsafe.Pointer(c))
	fd := C.bpf_obj_get(c)
	return int(fd), errno(fd)
}

func pinPut(fd int, path string) error {
	c := C.CString(path)
	defer C.free(unsafe.Pointer(c))
	return errno(C.bpf_obj_pin(C.int(fd), c))
}

// Attach types of the rows of the table.
const (
	cgroupConnect4 = uint32(C.BPF_CGROUP_INET4_CONNECT)
	cgroupConnect6 = uint32(C.BPF_CGROUP_INET6_CONNECT)
	cgroupSockOps  = uint32(C.BPF_CGROUP_SOCK_OPS)
	traceRawTp     = uint32(C.BPF_TRACE_RAW_TP)
	perfEvent      = uint32(C.BPF_PERF_EVENT)
	skMsgVerdict   = uint32(C.BPF_SK_MSG_VERDICT)
	xdpAttach      = uint32(C.BPF_XDP)
)

const linkTypeSockMap = uint32(C.LINK_TYPE_SOCKMAP)

const (
	mapTypeArray       = uint32(C.BPF_MAP_TYPE_ARRAY)
	mapTypePerCPUArray = uint32(C.BPF_MAP_TYPE_PERCPU_ARRAY)
	mapTypeHash        = uint32(C.BPF_MAP_TYPE_HASH)
	mapTypeArrayOfMaps = uint32(C.BPF_MAP_TYPE_ARRAY_OF_MAPS)
	mapMmapable        = uint32(C.BPF_F_MMAPABLE)
)

func attachTypeName(t uint32) string {
	if s := C.libbpf_bpf_attach_type_str(C.enum_bpf_attach_type(t)); s != nil {
		return C.GoString(s)
	}
	return "unknown"
}

// linkCreate attaches prog to target. For a tracing program target is 0.
func linkCreate(prog, target int, attachType uint32) (int, error) {
	fd := C.bpf_link_create(C.int(prog), C.int(target), C.enum_bpf_attach_type(attachType), nil)
	return int(fd), errno(fd)
}

// linkCreateXDP attaches prog to a device of the calling thread's network namespace.
func linkCreateXDP(prog, ifindex int, flags uint32) (int, error) {
	o := C.struct_bpf_link_create_opts{flags: C.__u32(flags)}
	o.sz = C.size_t(unsafe.Sizeof(o))
	fd := C.bpf_link_create(C.int(prog), C.int(ifindex), C.BPF_XDP, &o)
	return int(fd), errno(fd)
}

// progAttach attaches in the way from before links; it takes the place of the
// program that is there. target is a map for sk_msg.
func progAttach(prog, target int, attachType uint32) error {
	return errno(C.bpf_prog_attach(C.int(prog), C.int(target), C.enum_bpf_attach_type(attachType), 0))
}

func progDetach(prog, target int, attachType uint32) error {
	return errno(C.bpf_prog_detach2(C.int(prog), C.int(target), C.enum_bpf_attach_type(attachType)))
}

// progQuery is the id of the one program that is attached to target, 0 for none.
func progQuery(target int, attachType uint32) (uint32, error) {
	var ids [1]C.__u32
	n := C.__u32(len(ids))
	err := errno(C.bpf_prog_query(C.int(target), C.enum_bpf_attach_type(attachType), 0, nil, &ids[0], &n))
	if err != nil || n == 0 {
		return 0, err
	}
	return uint32(ids[0]), nil
}

// linkUpdate puts prog in place of the link's program, atomically.
func linkUpdate(link, prog int) error {
	return errno(C.bpf_link_update(C.int(link), C.int(prog), nil))
}

// linkDetach takes a link off, whoever holds it: Linux 5.9, XDP and cgroups.
func linkDetach(link int) error { return errno(C.bpf_link_detach(C.int(link))) }

func rawTracepointOpen(name string, prog int) (int, error) {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	fd := C.bpf_raw_tracepoint_open(c, C.int(prog))
	return int(fd), errno(fd)
}

// objectKind is "map", "prog" or "link", "" for a descriptor of anything else.
func objectKind(fd int) string {
	s, err := os.Readlink("/proc/self/fd/" + itoa(fd))
	if err != nil {
		return ""
	}
	switch {
	case strings.HasSuffix(s, "bpf-map"):
		return "map"
	case strings.HasSuffix(s, "bpf-prog"):
		return "prog"
	case strings.Contains(s, "bpf_link"), strings.Contains(s, "bpf-link"):
		return "link"
	}
	return ""
}

type progInfo struct {
	ID       uint32
	Type     uint32
	Name     string
	Verified uint32 // instructions that the verifier looked at; 0 before Linux 5.16
	RunCount uint64
	RunTime  uint64 // ns; both only counted with kernel.bpf_stats_enabled
	Tag      [8]byte
}

func progInfoOf(fd int) (progInfo, error) {
	var i C.struct_bpf_prog_info
	n := C.__u32(unsafe.Sizeof(i))
	if err := errno(C.bpf_prog_get_info_by_fd(C.int(fd), &i, &n)); err != nil {
		return progInfo{}, err
	}
	p := progInfo{ID: uint32(i.id), Type: uint32(i._type), Name: C.GoString(&i.name[0]),
		Verified: uint32(i.verified_insns), RunCount: uint64(i.run_cnt), RunTime: uint64(i.run_time_ns)}
	for k := range p.Tag {
		p.Tag[k] = byte(i.tag[k])
	}
	return p, nil
}

type mapInfo struct {
	ID, Type, KeySize, ValueSize, MaxEntries, Flags uint32
	Name                                            string

	btf, keyType, valueType uint32 // ids; 0: it was made without
}

func mapInfoOf(fd int) (mapInfo, error) {
	var i C.struct_bpf_map_info
	n := C.__u32(unsafe.Sizeof(i))
	if err := errno(C.bpf_map_get_info_by_fd(C.int(fd), &i, &n)); err != nil {
		return mapInfo{}, err
	}
	return mapInfo{ID: uint32(i.id), Type: uint32(i._type), KeySize: uint32(i.key_size),
		ValueSize: uint32(i.value_size), MaxEntries: uint32(i.max_entries),
		Flags: uint32(i.map_flags), Name: C.GoString(&i.name[0]),
		btf: uint32(i.btf_id), keyType: uint32(i.btf_key_type_id), valueType: uint32(i.btf_value_type_id)}, nil
}

// btfByID reads BTF that the kernel holds.
func btfByID(id uint32) (_ []byte, err error) {
	fd := C.bpf_btf_get_fd_by_id(C.__u32(id))
	if err := errno(fd); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.Close(int(fd))) }()
	var i C.struct_bpf_btf_info
	n := C.__u32(unsafe.Sizeof(i))
	if err := errno(C.bpf_btf_get_info_by_fd(fd, &i, &n)); err != nil {
		return nil, err
	}
	size := i.btf_size
	raw := C.malloc(C.size_t(size))
	defer C.free(raw)
	i = C.struct_bpf_btf_info{btf: C.__u64(uintptr(raw)), btf_size: size}
	if err := errno(C.bpf_btf_get_info_by_fd(fd, &i, &n)); err != nil {
		return nil, err
	}
	return C.GoBytes(raw, C.int(size)), nil
}

func mapTypeName(t uint32) string {
	if s := C.libbpf_bpf_map_type_str(C.enum_bpf_map_type(t)); s != nil {
		return C.GoString(s)
	}
	return "unknown"
}

type linkInfo struct {
	ID, Type, Prog, Attach uint32
	Cgroup                 uint64 // id of the cgroup; 0 when it is gone, or for another type
	SockMap                uint32 // id of the map; 0 for another type
	Ifindex                uint32 // of the device; 0 when it is gone, or for another type
}

func linkInfoOf(fd int) (linkInfo, error) {
	var i C.struct_bpf_link_info
	n := C.__u32(unsafe.Sizeof(i))
	if err := errno(C.bpf_link_get_info_by_fd(C.int(fd), &i, &n)); err != nil {
		return linkInfo{}, err
	}
	l := linkInfo{ID: uint32(i.id), Type: uint32(i._type), Prog: uint32(i.prog_id), Attach: uint32(C.link_attach(&i))}
	switch l.Type {
	case C.BPF_LINK_TYPE_CGROUP:
		l.Cgroup = uint64(C.link_cgroup(&i))
	case C.LINK_TYPE_SOCKMAP:
		l.SockMap = uint32(C.link_sockmap(&i))
	case C.BPF_LINK_TYPE_XDP:
		l.Ifindex = uint32(C.link_ifindex(&i))
	}
	return l, nil
}

func linkTypeName(t uint32) string {
	if s := C.libbpf_bpf_link_type_str(C.enum_bpf_link_type(t)); s != nil {
		return C.GoString(s)
	}
	return "unknown"
}

func mapCreate(name string, typ, key, value, entries, flags uint32) (int, error) {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	o := C.struct_bpf_map_create_opts{map_flags: C.__u32(flags)}
	o.sz = C.size_t(unsafe.Sizeof(o))
	fd := C.bpf_map_create(C.enum_bpf_map_type(typ), c, C.__u32(key), C.__u32(value), C.__u32(entries), &o)
	return int(fd), errno(fd)
}

// Keys and values are copied: memory that C is given may hold no pointers of Go's.

// mapLookup reads the value of key. It is not for per-CPU maps. The kernel writes as much
// as the map's values have, which another build may have made.
func mapLookup[K, V any](fd int, key K, value *V) error {
	var v V
	info, err := mapInfoOf(fd)
	if err != nil {
		return err
	}
	if uintptr(info.KeySize) != unsafe.Sizeof(key) || uintptr(info.ValueSize) != unsafe.Sizeof(v) {
		return fmt.Errorf("%w: keys of %d and values of %d bytes", ErrLayout, info.KeySize, info.ValueSize)
	}
	err = bpfmap.Lookup(fd, bpfmap.Bytes(&key), bpfmap.Bytes(&v))
	if err == nil {
		*value = v
	}
	return err
}

// mapLookupBytes is mapLookup for a value of any size: that of a per-CPU map is
// one for each possible CPU, each rounded up to 8 bytes.
func mapLookupBytes[K any](fd int, key K, value []byte) error {
	return bpfmap.Lookup(fd, bpfmap.Bytes(&key), value)
}

func mapUpdate[K, V any](fd int, key K, value V) error {
	return bpfmap.Update(fd, bpfmap.Bytes(&key), bpfmap.Bytes(&value))
}

func mapUpdateBytes[K any](fd int, key K, value []byte) error {
	return bpfmap.Update(fd, bpfmap.Bytes(&key), value)
}

func mapDelete[K any](fd int, key K) error { return bpfmap.Delete(fd, bpfmap.Bytes(&key)) }

// mapNext gives the key after key, the first one where key is nil; ENOENT at the end.
func mapNext[K any](fd int, key *K) (next K, err error) {
	var in []byte
	if key != nil {
		k := *key
		in = bpfmap.Bytes(&k)
	}
	err = bpfmap.NextKey(fd, in, bpfmap.Bytes(&next))
	return next, err
}

func possibleCPUs() (int, error) {
	n := C.libbpf_num_possible_cpus()
	return int(n), errno(n)
}

// LibbpfVersion is the version of the libbpf that is linked in, "v1.5".
func LibbpfVersion() string { return C.GoString(C.libbpf_version_string()) }

// tracepointOpen opens a perf event on a kernel tracepoint, by the id that
// tracefs gives it.
func tracepointOpen(id int) (int, error) {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: uint64(id), Sample: 1, Wakeup: 1}
	attr.Size = uint32(unsafe.Sizeof(attr))
	return unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
}
