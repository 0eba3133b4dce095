// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// errInUse says that another process listens on the address.
var errInUse = errors.New("another process listens there")

const (
	unixPrefix = "unix:"
	// maxPath is the longest name of a unix socket that a client can say.
	maxPath = 107
)

// Check says what is wrong with an address, without any effect.
func Check(address string) error {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		switch {
		case !filepath.IsAbs(path):
			return fmt.Errorf("%q: the path of the socket is not absolute", address)
		case len(path) > maxPath:
			return fmt.Errorf("%q: the path of a socket has %d bytes at most, and this one %d", address, maxPath, len(path))
		}
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT, unix:PATH or off", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: port %q is not 0..65535", address, port)
	} else if n == 0 && port != "0" {
		return fmt.Errorf("%q: port %q is no number", address, port)
	}
	return nil
}

// Try says whether Serve can have the address now, and leaves nothing there.
func Try(address string) error {
	l, unlink, err := listen(address)
	if err != nil {
		return err
	}
	if err := errors.Join(l.Close(), unlink()); err != nil {
		return listenError(address, err, "")
	}
	return nil
}

// listen returns the listener of an address, and what takes its name away at the end.
func listen(address string) (_ net.Listener, unlink func() error, err error) {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return listenUnix(path)
	}
	l, err := net.Listen(network(address), address)
	if err != nil {
		remedy := "give --admin-address another one"
		if errors.Is(err, syscall.EADDRINUSE) {
			err, remedy = errInUse, "end that process, or give --admin-address another one"
		}
		return nil, nil, listenError(address, err, remedy)
	}
	return l, func() error { return nil }, nil
}

// network keeps 0.0.0.0 to IPv4: of "tcp" it would be every address of IPv6 too.
func network(address string) string {
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().Is4() {
		return "tcp4"
	}
	return "tcp"
}

func listenError(address string, err error, remedy string) error {
	return &exit.Error{Code: exit.NotReady, Step: "listen", Object: address, Err: err, Remedy: remedy}
}

// listenUnix makes the socket in a directory that nobody else may enter, so that it never
// has wider rights than 0600, and renames it into place: over what an ended process left.
func listenUnix(path string) (_ net.Listener, unlink func() error, err error) {
	address := unixPrefix + path
	if err := replaceable(path); err != nil {
		remedy := "give --admin-address another path"
		if errors.Is(err, errInUse) {
			remedy = "end that process, or " + remedy
		}
		return nil, nil, listenError(address, err, remedy)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".admin-")
	if err != nil {
		return nil, nil, listenError(address, err, "make its directory, or give --admin-address another path")
	}
	defer func() {
		if e := os.RemoveAll(dir); e != nil && err == nil {
			err = listenError(address, e, "")
		}
	}()
	l, err := bindIn(dir)
	if err != nil {
		return nil, nil, listenError(address, err, "give --admin-address another path")
	}
	made := filepath.Join(dir, socketName)
	var st unix.Stat_t
	err = os.Chmod(made, 0o600)
	if err == nil {
		err = unix.Stat(made, &st)
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return nil, nil, errors.Join(listenError(address, err, "give --admin-address another path"), l.Close())
	}
	return l, func() error { return unlinkOwn(path, st.Ino) }, nil
}

const socketName = "socket"

// bindIn listens on a socket in dir. Its path may be longer than a name of a socket:
// the descriptor of the directory stands for it.
func bindIn(dir string) (net.Listener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName), Net: "unix"})
	if err == nil {
		l.SetUnlinkOnClose(false)
	}
	return l, errors.Join(err, d.Close())
}

// replaceable says whether path is free, or a socket that nobody answers on.
func replaceable(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is no socket")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err == nil {
		err = c.Close()
	}
	return errors.Join(errInUse, err)
}

// unlinkOwn removes the socket, unless another process has put its own in its place.
func unlinkOwn(path string, inode uint64) error {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if err == nil && st.Ino == inode {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// reachable says whether other hosts may reach the address.
func reachable(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && !t.IP.IsLoopback()
}
