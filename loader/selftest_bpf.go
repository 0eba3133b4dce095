// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <stdlib.h>
#include <bpf/bpf.h>
*/
import "C"

import (
	"errors"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Verdicts of XDP.
const (
	xdpPass = uint32(C.XDP_PASS)
	xdpTx   = uint32(C.XDP_TX)
)

// countRuns has the kernel count the runs of every program for as long as the
// descriptor is open: Linux 5.8.
func countRuns() (int, error) {
	fd := C.bpf_enable_stats(C.BPF_STATS_RUN_TIME)
	return int(fd), errno(fd)
}

// inEffect says whether a program runs for a cgroup: attached to it, or above it.
func inEffect(cg int, attachType, prog uint32) (bool, error) {
	ids := make([]C.__u32, 64)
	for {
		n := C.__u32(len(ids))
		err := errno(C.bpf_prog_query(C.int(cg), C.enum_bpf_attach_type(attachType), C.BPF_F_QUERY_EFFECTIVE, nil, &ids[0], &n))
		if errors.Is(err, unix.ENOSPC) && int(n) > len(ids) {
			ids = make([]C.__u32, n)
			continue
		}
		if err != nil {
			return false, err
		}
		return slices.Contains(ids[:n], C.__u32(prog)), nil
	}
}

// runOnPacket runs an XDP program once on a copy of packet, and returns its verdict.
func runOnPacket(prog int, packet []byte) (uint32, error) {
	in := C.CBytes(packet)
	defer C.free(in)
	o := C.struct_bpf_test_run_opts{data_in: in, data_size_in: C.__u32(len(packet)), repeat: 1}
	o.sz = C.size_t(unsafe.Sizeof(o))
	err := errno(C.bpf_prog_test_run_opts(C.int(prog), &o))
	return uint32(o.retval), err
}
