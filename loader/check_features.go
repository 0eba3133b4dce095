// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

// load_nothing loads a program that does nothing.
static int load_nothing(enum bpf_prog_type type)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(type, "kmesh_probe", "GPL", insns, 2, NULL);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// feature is something that not every kernel has. What there is without it is
// fallback; empty: nothing, and `up` fails.
type feature struct {
	name, needs string
	only        Mode // empty: both
	purpose     string
	fallback    string
	remedy      string // of a fallback that is less; empty: it is as good
	try         func() error
}

const remedyKernel = "run Linux 5.10 or newer"

var features = []feature{
	{name: "mmapable array maps", needs: "5.5", purpose: "settings and configuration, written without a system call", try: probeMmapable},
	{name: "links on cgroups", needs: "5.7", purpose: "sockconn4, sockconn6, sock_ops: attached without a process", try: probeCgroupLink},
	{name: "ring buffers", needs: "5.8", only: Workload, purpose: "events", try: probeMap(C.BPF_MAP_TYPE_RINGBUF)},
	{name: "XDP programs", needs: "4.8", only: Workload, purpose: "xdpauth: authorization", try: probeProgram(C.BPF_PROG_TYPE_XDP)},
	{name: "sk_msg programs", needs: "4.17", only: Workload, purpose: "sendmsg: metadata for waypoints", try: probeProgram(C.BPF_PROG_TYPE_SK_MSG)},
	{name: "netns cookie of a socket", needs: "5.14", purpose: "enroll by path or process, xdpauth", try: probeNetnsCookie,
		fallback: "pods enrol from inside, and no packet is judged", remedy: "enrol from inside the pod, by the control address (up --control-address on)"},
	{name: "links of tracepoints", needs: "5.15", only: Ads, purpose: "--connect-ret " + ConnectRetSysExit,
		try:      probeLink(C.BPF_PROG_TYPE_TRACEPOINT, perfEvent),
		fallback: "--connect-ret " + ConnectRetSysExit + " fails", remedy: "use --connect-ret auto"},
	{name: "links on maps of sockets", needs: "6.12", only: Workload, purpose: "sendmsg", try: probeLink(C.BPF_PROG_TYPE_SK_MSG, skMsgVerdict),
		fallback: "sendmsg is attached without a link, for as long as km_sock lives"},
}

// features asks the kernel by trying, not by its version.
func (r *Report) features(m Mode) {
	for _, p := range features {
		if p.only != "" && p.only != m {
			continue
		}
		f := Finding{Name: p.name, OK: true, Detail: "present", For: p.purpose, Required: p.fallback == ""}
		if err := p.try(); err != nil {
			f.Detail = fmt.Sprintf("absent (Linux %s has it): %v", p.needs, err)
			f.OK, f.Remedy = false, remedyKernel
			if p.fallback != "" {
				f.Detail += "; " + p.fallback
				f.OK, f.Remedy = p.remedy == "", p.remedy
			}
		}
		r.add(f)
	}
}

func probeMmapable() error {
	fd, err := mapCreate("kmesh_probe", mapTypeArray, 4, 8, 1, mapMmapable)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// probeCgroupLink asks for a link of no program: a kernel that knows links
// refuses the descriptor (EBADF), another the command (EINVAL).
func probeCgroupLink() error {
	fd, err := linkCreate(-1, -1, cgroupConnect4)
	if errors.Is(err, unix.EBADF) {
		return nil
	}
	if err == nil {
		return unix.Close(fd)
	}
	return err
}

func probeNetnsCookie() error {
	_, err := ownCookie()
	return err
}

func probeMap(kind C.enum_bpf_map_type) func() error {
	return func() error { return probed(C.libbpf_probe_bpf_map_type(kind, nil)) }
}

func probeProgram(kind C.enum_bpf_prog_type) func() error {
	return func() error { return probed(C.libbpf_probe_bpf_prog_type(kind, nil)) }
}

// probed is what a probe of libbpf says: 1, 0 or an error.
func probed(rc C.int) error {
	if rc == 0 {
		return unix.EINVAL
	}
	return errno(rc)
}

// probeLink asks for a link of a program that does nothing, to nothing: a kernel that has
// such links refuses the target (EBADF), another the type of program (EINVAL).
func probeLink(kind C.enum_bpf_prog_type, attachType uint32) func() error {
	return func() error {
		prog := C.load_nothing(kind)
		if err := errno(prog); err != nil {
			return fmt.Errorf("load a program: %w", err)
		}
		link, err := linkCreate(int(prog), -1, attachType)
		if err == nil {
			err = unix.Close(link)
		}
		if errors.Is(err, unix.EBADF) {
			err = nil
		}
		return errors.Join(err, unix.Close(int(prog)))
	}
}

// accountsToCgroups says whether this kernel accounts maps to the memory of a cgroup
// (Linux 5.11); one before limits them by RLIMIT_MEMLOCK. The helper came with it.
func accountsToCgroups() bool {
	return probed(C.libbpf_probe_bpf_helper(C.BPF_PROG_TYPE_SOCKET_FILTER, C.BPF_FUNC_ktime_get_coarse_ns, nil)) == nil
}

// Kinds of maps, by what an element takes.
var (
	hashKinds    = []uint32{C.BPF_MAP_TYPE_HASH, C.BPF_MAP_TYPE_LRU_HASH, C.BPF_MAP_TYPE_SOCKHASH, C.BPF_MAP_TYPE_HASH_OF_MAPS}
	perCPUKinds  = []uint32{C.BPF_MAP_TYPE_PERCPU_ARRAY, C.BPF_MAP_TYPE_PERCPU_HASH, C.BPF_MAP_TYPE_LRU_PERCPU_HASH}
	byteKinds    = []uint32{C.BPF_MAP_TYPE_RINGBUF}
	perSockKinds = []uint32{C.BPF_MAP_TYPE_SK_STORAGE}
)

// footprint is about what the kernel takes for a map when it is made, in bytes.
func (m mapInfo) footprint(cpus int) uint64 {
	const hashElement, bucket = 48, 16 // struct htab_elem; of twice a power of two, at most
	entries, value := uint64(m.MaxEntries), uint64(m.ValueSize+7)&^7
	switch {
	case slices.Contains(byteKinds, m.Type):
		return entries
	case slices.Contains(perSockKinds, m.Type):
		return 0
	case slices.Contains(perCPUKinds, m.Type):
		return entries * (value*uint64(cpus) + 8)
	case slices.Contains(hashKinds, m.Type) && m.Flags&C.BPF_F_NO_PREALLOC != 0:
		return entries * bucket
	case slices.Contains(hashKinds, m.Type):
		return entries * (hashElement + bucket + uint64(m.KeySize+7)&^7 + value)
	}
	return entries * value
}
