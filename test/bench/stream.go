// SPDX-License-Identifier: Apache-2.0

package main

/*
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>

#define CHUNK (256 << 10)

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

// Writes for a time.
static int send_stream(uint32_t ip, uint16_t port, double during)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port),
				  .sin_addr.s_addr = ip };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ret = 0;
	char *data = calloc(1, CHUNK);
	double end;

	if (fd < 0 || !data || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		ret = -errno;
	for (end = seconds() + during; !ret && seconds() < end;)
		if (send(fd, data, CHUNK, MSG_NOSIGNAL) < 0)
			ret = -errno;
	free(data);
	if (fd >= 0)
		close(fd);
	return ret;
}

// Accepts one connection and reads it to its end.
static int receive_stream(int listener, double *gbits)
{
	int fd = accept(listener, NULL, NULL), ret = 0;
	char *data = malloc(CHUNK);
	double start = seconds(), bytes = 0;
	ssize_t n = 0;

	if (fd < 0 || !data)
		ret = -errno;
	while (!ret && (n = recv(fd, data, CHUNK, 0)) > 0)
		bytes += n;
	if (n < 0)
		ret = -errno;
	*gbits = bytes * 8 / 1e9 / (seconds() - start);
	free(data);
	if (fd >= 0)
		close(fd);
	return ret;
}

static int listen_stream(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, ret;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

// Attaches an XDP program, generic, to a device of the caller's network namespace.
static int attach_nic(int prog, const char *device)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_SKB_MODE);
	int index = if_nametoindex(device);

	return index ? bpf_link_create(prog, index, BPF_XDP, &opts) : -ENODEV;
}
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// streamed is what a receiver has to say.
type streamed struct {
	gbits float64
	err   error
}

// sendStream sends from the calling thread's network namespace.
func sendStream(to netip.AddrPort, seconds float64) error {
	ip := to.Addr().As4()
	ret := C.send_stream(C.uint32_t(binary.NativeEndian.Uint32(ip[:])), C.uint16_t(to.Port()), C.double(seconds))
	if ret < 0 {
		return fail(ret, "send to", to.String())
	}
	return nil
}

// receiveStream receives one connection, on another CPU than the sender's.
func receiveStream(listener int) (s streamed) {
	runtime.LockOSThread() // it ends with the goroutine, affinity and all
	pinLastCPU()
	var gbits C.double
	if ret := C.receive_stream(C.int(listener), &gbits); ret < 0 {
		s.err = fail(ret, "receive", "the stream")
	}
	s.gbits = float64(gbits)
	return s
}

func streamListener(port uint16) (int, error) {
	fd := C.listen_stream(C.uint16_t(port))
	if fd < 0 {
		return -1, fail(fd, "listen on port", fmt.Sprint(port))
	}
	return int(fd), nil
}

// wakeListener makes accept() return.
func wakeListener(fd int) error {
	if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
		return fmt.Errorf("shut the listener down: %w", err)
	}
	return nil
}

// attachNIC returns the descriptor of a link; closing it detaches.
func attachNIC(prog int, device string) (int, error) {
	name := C.CString(device)
	defer C.free(unsafe.Pointer(name))
	fd := C.attach_nic(C.int(prog), name)
	if fd < 0 {
		return -1, fail(fd, "attach program to", device)
	}
	return int(fd), nil
}
