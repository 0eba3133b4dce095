// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pod is what was learnt of a network namespace from inside of it.
type pod struct {
	cookie uint64
	path   string
	host   bool // the host's own: its devices are not a pod's, and nics is empty
	nics   []nic
	addrs  []netip.Addr // of its devices but loopback, those of the link alone last
}

// nic is an Ethernet device.
type nic struct {
	index int
	name  string
	peer  int      // index of the other end of a veth, in that one's namespace
	xdp   []uint32 // ids of the XDP programs on it
}

// lookInto lists the devices and addresses of the namespace at path.
func lookInto(cookie uint64, path string) (pod, error) {
	p := pod{cookie: cookie, path: path}
	first, err := procNet("/proc/1")
	if err != nil {
		return p, fmt.Errorf("look into %s: %w", path, err)
	}
	err = insideOf(path, func() error {
		own, err := procNet("/proc/thread-self")
		if err != nil {
			return err
		}
		if p.host = own == first; !p.host {
			if p.nics, err = ethernetDevices(); err != nil {
				return fmt.Errorf("list devices: %w", err)
			}
		}
		if p.addrs, err = deviceAddresses(); err != nil {
			return fmt.Errorf("list addresses: %w", err)
		}
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("look into %s: %w", path, err)
	}
	return p, nil
}

// lost says whether a device that was there is there no more: the kernel's word for
// that is EINVAL.
func (p pod) lost(d nic) bool {
	now, err := lookInto(p.cookie, p.path)
	return err != nil || !slices.ContainsFunc(now.nics, func(n nic) bool { return n.index == d.index })
}

// insideOf runs do on a thread in the network namespace at path.
func insideOf(path string, do func() error) error {
	fd, err := openNamespace(path)
	if err != nil {
		return err
	}
	onOwnThread(func() {
		if err = unix.Setns(fd, unix.CLONE_NEWNET); err == nil {
			err = do()
		}
	})
	return errors.Join(err, unix.Close(fd))
}

// ethernetDevices lists the devices that packets with Ethernet headers come in by.
func ethernetDevices() ([]nic, error) {
	b, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return nil, err
	}
	var l []nic
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		i := (*unix.IfInfomsg)(unsafe.Pointer(&m.Data[0]))
		if i.Type != unix.ARPHRD_ETHER {
			continue
		}
		d := nic{index: int(i.Index)}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return nil, err
		}
		for _, a := range attrs {
			switch a.Attr.Type {
			case unix.IFLA_IFNAME:
				d.name = unix.ByteSliceToString(a.Value)
			case unix.IFLA_LINK:
				d.peer = int(binary.NativeEndian.Uint32(a.Value))
			case unix.IFLA_XDP:
				d.xdp = xdpPrograms(a.Value)
			}
		}
		l = append(l, d)
	}
	return l, nil
}

// xdpPrograms reads the ids from an attribute IFLA_XDP: attributes again. A device that
// has one program tells of it twice.
func xdpPrograms(b []byte) (ids []uint32) {
	for len(b) >= unix.SizeofRtAttr {
		n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < unix.SizeofRtAttr || n > len(b) {
			return ids
		}
		switch kind {
		case unix.IFLA_XDP_PROG_ID, unix.IFLA_XDP_DRV_PROG_ID, unix.IFLA_XDP_SKB_PROG_ID, unix.IFLA_XDP_HW_PROG_ID:
			if n == unix.SizeofRtAttr+4 {
				id := binary.NativeEndian.Uint32(b[unix.SizeofRtAttr:])
				if id != 0 && !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return ids
}

// deviceAddresses lists the calling thread's namespace's addresses, those of the link
// alone last: no workload has one, but neighbours connect to them.
func deviceAddresses() ([]netip.Addr, error) {
	have, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var l []netip.Addr
	for _, h := range have {
		n, ok := h.(*net.IPNet)
		if !ok {
			continue
		}
		a, ok := netip.AddrFromSlice(n.IP)
		a = a.Unmap()
		if ok && !a.IsLoopback() {
			l = append(l, a)
		}
	}
	slices.SortStableFunc(l, func(a, b netip.Addr) int {
		switch x, y := a.IsLinkLocalUnicast(), b.IsLinkLocalUnicast(); {
		case x == y:
			return 0
		case x:
			return 1
		}
		return -1
	})
	return l, nil
}

// xdpFlags are those of a link in that mode.
func xdpFlags(mode string) uint32 {
	if mode == XDPNative {
		return unix.XDP_FLAGS_DRV_MODE
	}
	return unix.XDP_FLAGS_SKB_MODE
}

// attachNIC attaches prog to the device, inside of its namespace.
func attachNIC(p pod, d nic, prog int, mode string) (link int, err error) {
	link = -1
	err = insideOf(p.path, func() (err error) {
		link, err = linkCreateXDP(prog, d.index, xdpFlags(mode))
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("device %s of %s: %w", d.name, p.path, err)
	}
	return link, nil
}

// nicRemedy says what to do about a device that takes no program.
func nicRemedy(err error) string {
	var peer *peerError
	switch {
	case errors.As(err, &peer):
		return "run: ethtool -K " + peer.device + " gro on, or use up --xdp-mode generic"
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.EBUSY):
		return "another's XDP program is on the device (see: ip link show); take it off"
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE):
		return "use up --xdp-mode generic"
	}
	return ""
}
