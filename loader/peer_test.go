// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestAVethWhosePeerLosesResetsIsRefusedInNativeMode(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network devices")
	}
	here, inside := newNetns(t), newNetns(t)
	const name = "kmesh_test_peer"
	ip(t, here, "link", "add", "veth0", "type", "veth", "peer", "name", "eth0")
	must(t, insideOf(here, func() error {
		// A name for a file is what `ip` takes a namespace by.
		must(t, os.MkdirAll("/run/netns", 0o755))
		must(t, os.Symlink(inside, "/run/netns/"+name))
		defer os.Remove("/run/netns/" + name)
		out, err := exec.Command("ip", "link", "set", "eth0", "netns", name).CombinedOutput()
		return errors.Join(err, errorOf(out))
	}))
	p := must1(lookInto(1, inside))(t)
	if len(p.nics) != 1 {
		t.Fatalf("devices %+v", p.nics)
	}
	ask := func(mode string) error {
		return insideOf(here, func() error { return sendsBack(p, p.nics[0], mode) })
	}
	err := ask(XDPNative)
	var peer *peerError
	if !errors.As(err, &peer) || peer.device != "veth0" || !strings.Contains(nicRemedy(err), "ethtool -K veth0 gro on") {
		t.Errorf("native: %v; %s", err, nicRemedy(err))
	}
	must(t, ask(XDPGeneric))
	must(t, insideOf(here, func() error { return setGRO("veth0") }))
	must(t, ask(XDPNative))
}

func errorOf(out []byte) error {
	if len(out) == 0 {
		return nil
	}
	return errors.New(string(out))
}

// setGRO turns GRO on for a device of the calling thread's namespace.
func setGRO(device string) error {
	const sgro, ioctl = 0x2c, 0x8946 // ETHTOOL_SGRO, SIOCETHTOOL
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	value := [2]uint32{sgro, 1}
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		rest [16]byte
	}
	copy(request.name[:], device)
	request.data = unsafe.Pointer(&value)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctl, uintptr(unsafe.Pointer(&request))); e != 0 {
		err = e
	}
	return errors.Join(err, unix.Close(fd))
}
