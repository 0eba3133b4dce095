// SPDX-License-Identifier: Apache-2.0

package main

/*
#include <errno.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>

// Runs an XDP program repeat times on one packet, which keeps what a run wrote to it.
static int run_xdp(int prog, void *packet, __u32 len, int repeat, __u32 *action, __u32 *ns)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = len,
		    .repeat = repeat);
	int err;

	do // a signal, of which Go's runtime sends some, ends a test run
		err = bpf_prog_test_run_opts(prog, &opts);
	while (err == -EINTR);
	*action = opts.retval;
	*ns = opts.duration;
	return err;
}

static int set_tail(int array, int prog)
{
	__u32 key = 0;

	return bpf_map_update_elem(array, &key, &prog, BPF_ANY);
}
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"
)

const xdpPass = C.XDP_PASS

// testRun runs an XDP program on a packet and returns ns per run, by the kernel's
// own clock. The last run must let the packet pass.
func testRun(prog int, packet []byte, repeat int) (float64, error) {
	var action, ns C.__u32
	data := append([]byte(nil), packet...)
	ret := C.run_xdp(C.int(prog), unsafe.Pointer(&data[0]), C.__u32(len(data)), C.int(repeat), &action, &ns)
	if ret < 0 {
		return 0, fail(ret, "test-run", "program")
	}
	if action != xdpPass {
		return 0, fmt.Errorf("program returned %d for the packet, want %d (pass)", action, xdpPass)
	}
	return float64(ns), nil
}

// setTail puts a program into slot 0 of a prog array.
func setTail(array, prog int) error {
	if ret := C.set_tail(C.int(array), C.int(prog)); ret < 0 {
		return fail(ret, "fill", "prog array")
	}
	return nil
}

// Flags of a TCP header.
const (
	tcpSYN = 0x02
	tcpACK = 0x10
)

// tcpPacket is an Ethernet frame with an IPv4 packet, the options of a usual SYN in
// its TCP header and a payload of n bytes.
func tcpPacket(from, to netip.AddrPort, flags byte, n int) []byte {
	options := []byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7}
	p := make([]byte, 14+20+20+len(options)+n)
	p[0], p[6] = 2, 2
	binary.BigEndian.PutUint16(p[12:], 0x0800)
	ip := p[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], from.Addr().AsSlice())
	copy(ip[16:], to.Addr().AsSlice())
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, from.Port())
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	tcp[12] = byte(20+len(options)) / 4 << 4
	tcp[13] = flags
	binary.BigEndian.PutUint16(tcp[14:], 64240)
	copy(tcp[20:], options)
	return p
}
