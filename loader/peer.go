// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>

static int ethtool(int fd, const char *name, void *data)
{
	struct ifreq r = {};

	strncpy(r.ifr_name, name, IFNAMSIZ - 1);
	r.ifr_data = data;
	return ioctl(fd, SIOCETHTOOL, &r) ? -errno : 0;
}

// is_veth: 1 or 0, or an error.
static int is_veth(int fd, const char *name)
{
	struct ethtool_drvinfo d = {.cmd = ETHTOOL_GDRVINFO};
	int rc = ethtool(fd, name, &d);

	return rc ? rc : !strcmp(d.driver, "veth");
}

static int has_gro(int fd, const char *name)
{
	struct ethtool_value v = {.cmd = ETHTOOL_GGRO};
	int rc = ethtool(fd, name, &v);

	return rc ? rc : !!v.data;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A veth whose peer sends a packet back from its driver takes it in only where it
// polls (NAPI): with GRO on, which is off by default. The reset that answers a denied
// connection in native mode is such a packet, and would be lost without a word.

// sendsBack says what is in the way of packets that xdpauth sends back from the
// driver of a pod's device.
func sendsBack(p pod, d nic, mode string) error {
	if mode != XDPNative {
		return nil // it goes through the device's queue
	}
	var veth bool
	err := insideOf(p.path, func() (err error) {
		veth, err = askEthtool(d.name, func(fd C.int, name *C.char) C.int { return C.is_veth(fd, name) })
		return err
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // a device of no driver
	}
	if err != nil {
		return fmt.Errorf("device %s of %s: ask for its driver: %w", d.name, p.path, err)
	}
	if !veth {
		return nil
	}
	here, err := ethernetDevices()
	if err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	i := slices.IndexFunc(here, func(h nic) bool { return h.index == d.peer && h.peer == d.index })
	if i < 0 {
		return nil // it is in a namespace that is not ours to look into
	}
	gro, err := askEthtool(here[i].name, func(fd C.int, name *C.char) C.int { return C.has_gro(fd, name) })
	if err != nil {
		return fmt.Errorf("device %s: ask for GRO: %w", here[i].name, err)
	}
	if gro {
		return nil
	}
	return fmt.Errorf("device %s of %s: %w", d.name, p.path, &peerError{here[i].name})
}

// peerError names a device that would lose what is sent back to it.
type peerError struct{ device string }

func (e *peerError) Error() string {
	return "its peer " + e.device + " would lose the resets of denied connections: GRO is off there"
}

// askEthtool asks about a device of the calling thread's namespace.
func askEthtool(name string, ask func(fd C.int, name *C.char) C.int) (bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("make socket: %w", err)
	}
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	rc := ask(C.int(fd), c)
	return rc > 0, errors.Join(errno(rc), unix.Close(fd))
}
