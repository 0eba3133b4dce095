// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// pod is a network namespace with a server in it.
type pod struct{ name string }

func (p *pod) path() string { return "/run/netns/" + p.name }

func newPod(t *testing.T, name string) *pod {
	t.Helper()
	p := &pod{name}
	must(t, "ip", "netns", "add", name)
	t.Cleanup(func() { must(t, "ip", "netns", "del", name) })
	must(t, "ip", "-n", name, "link", "set", "lo", "up")
	must(t, "ip", "-n", name, "address", "add", podIP+"/32", "dev", "lo")
	// A device, for the program on it.
	must(t, "ip", "link", "add", "v-"+name, "type", "veth", "peer", "name", "eth0", "netns", name)
	must(t, "ip", "-n", name, "link", "set", "eth0", "up")
	// A namespace takes its devices away in its own time.
	t.Cleanup(func() { must(t, "ip", "link", "del", "v-"+name) })
	return p
}

// inside calls fn on a thread of its own in the pod. The thread ends with fn.
func (p *pod) inside(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		done <- func() error {
			fd, err := unix.Open(p.path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open %s: %w", p.path(), err)
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter %s: %w", p.path(), err)
			}
			return fn()
		}()
	}()
	return <-done
}

func sockaddr(ip string, port int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: port, Addr: netip.MustParseAddr(ip).As4()}
}

// serve takes connections at the pod's address until the test ends.
func (p *pod) serve(t *testing.T) {
	t.Helper()
	var listener int
	err := p.inside(func() (err error) {
		if listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Bind(listener, sockaddr(podIP, podPort)); err != nil {
			return err
		}
		return unix.Listen(listener, 4096)
	})
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		for {
			fd, _, err := unix.Accept(listener)
			if err != nil {
				return // shut down
			}
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		if err := unix.Shutdown(listener, unix.SHUT_RDWR); err != nil {
			t.Error(err)
		}
		done.Wait()
		if err := unix.Close(listener); err != nil {
			t.Error(err)
		}
	})
}

// connect connects once from inside of the calling thread's namespace.
func connect(ip string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A reset at the end: ports are not held by connections that have ended.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	return unix.Connect(fd, sockaddr(ip, port))
}

// reaches says whether a connection from the pod is redirected.
func (p *pod) reaches(ip string) error { return p.inside(func() error { return connect(ip) }) }

// calls are connections that are made without pause.
type calls struct {
	made, missed atomic.Int64
	first        atomic.Pointer[error] // why the first one was missed
	stop         chan struct{}
	done         chan error
}

// call begins to connect to the service from the pod.
func (p *pod) call(t *testing.T) *calls {
	t.Helper()
	c := &calls{stop: make(chan struct{}), done: make(chan error, 1)}
	go func() {
		c.done <- p.inside(func() error {
			for {
				select {
				case <-c.stop:
					return nil
				default:
				}
				if err := connect(serviceIP); err != nil {
					c.first.CompareAndSwap(nil, &err)
					c.missed.Add(1)
				}
				c.made.Add(1)
			}
		})
	}()
	c.some(t)
	return c
}

// some waits for connections that begin from now on.
func (c *calls) some(t *testing.T) {
	t.Helper()
	want := c.made.Load() + 100
	err := eventually(func() error {
		if n := c.made.Load(); n < want {
			return fmt.Errorf("%d connections, waiting for %d", n, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// end asks for none of the connections to have been missed.
func (c *calls) end(t *testing.T) {
	t.Helper()
	c.some(t)
	close(c.stop)
	if err := <-c.done; err != nil {
		t.Error(err)
	}
	t.Logf("%d connections, %d missed", c.made.Load(), c.missed.Load())
	if n := c.missed.Load(); n > 0 {
		t.Errorf("%d of %d connections were missed; the first: %v", n, c.made.Load(), *c.first.Load())
	}
}
