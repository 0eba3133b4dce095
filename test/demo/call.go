// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What becomes of a call.
const (
	allowed = "allowed"
	denied  = "denied"
)

// A call is a connection from another network namespace, which policies allow or deny.
type call struct {
	from netip.Addr
	to   netip.AddrPort
	want string
}

// isCall tells a call from a service among the arguments.
func isCall(arg string) bool { return strings.Contains(arg, "->") }

func parseCall(arg string) (call, error) {
	from, rest, _ := strings.Cut(arg, "->")
	to, want, _ := strings.Cut(rest, "=")
	if want != allowed && want != denied {
		return call{}, fmt.Errorf("parse %q: %q is not %s or %s", arg, want, allowed, denied)
	}
	c := call{want: want}
	var err error
	if c.from, err = netip.ParseAddr(from); err != nil {
		return call{}, fmt.Errorf("parse %q: %w", arg, err)
	}
	if c.to, err = netip.ParseAddrPort(to); err != nil {
		return call{}, fmt.Errorf("parse %q: %w", arg, err)
	}
	return c, nil
}

// callAll makes the calls in the network namespace at path, prints what became of
// them, and returns how many ended otherwise than was configured.
func callAll(w io.Writer, path string, calls []call) (off int, err error) {
	done := make(chan error)
	go func() {
		// The thread is not let go of: it ends with the goroutine.
		runtime.LockOSThread()
		done <- func() error {
			if err := enter(path); err != nil {
				return err
			}
			for _, c := range calls {
				got, err := c.make()
				if err != nil {
					return err
				}
				mark := ""
				if got != c.want {
					mark = "  <- off"
					off++
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s%s\n", c.from, c.to, c.want, got, mark)
			}
			return nil
		}()
	}()
	err = <-done
	return off, err
}

// enter moves the calling thread to a network namespace.
func enter(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return nil
}

func (c call) make() (string, error) {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.from, 0))}
	conn, err := d.Dial("tcp", c.to.String())
	if errors.Is(err, unix.ECONNREFUSED) {
		return denied, nil
	}
	if err != nil {
		return "", fmt.Errorf("connect from %s to %s: %w", c.from, c.to, err)
	}
	if err := conn.Close(); err != nil {
		return "", fmt.Errorf("close connection to %s: %w", c.to, err)
	}
	return allowed, nil
}
