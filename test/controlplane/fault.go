// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"errors"
	"net"
	"sync"
)

// faulty hands out connections that can be made to fail.
type faulty struct {
	net.Listener

	mu    sync.Mutex
	conns []*faultyConn
	total int
}

func (l *faulty) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	f := &faultyConn{Conn: c, left: -1}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, f)
	l.total++
	return f, nil
}

// each calls do for the connections that are there.
func (l *faulty) each(do func(*faultyConn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var open []*faultyConn
	for _, c := range l.conns {
		if !c.isClosed() {
			open = append(open, c)
			do(c)
		}
	}
	l.conns = open
}

func (l *faulty) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// errCut is what the server's own side is told.
var errCut = errors.New("the test cut the connection")

// faultyConn is cut after so many bytes, or stands still.
type faultyConn struct {
	net.Conn

	mu     sync.Mutex
	left   int64 // bytes to be sent before the cut, -1 without one
	silent bool
	closed bool
}

func (c *faultyConn) cutAfter(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = n
}

func (c *faultyConn) silence() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = true
}

func (c *faultyConn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Write says that all of b was sent when the connection stands still.
func (c *faultyConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	silent, left := c.silent, c.left
	if left >= 0 {
		c.left -= min(left, int64(len(b)))
	}
	c.mu.Unlock()
	if silent {
		return len(b), nil
	}
	if left < 0 || int64(len(b)) <= left {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:left])
	return n, errors.Join(errCut, err, c.reset())
}

// reset makes the close one that the other side cannot take for an end.
func (c *faultyConn) reset() error {
	var err error
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		err = tcp.SetLinger(0)
	}
	return errors.Join(err, c.Close())
}

func (c *faultyConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		c.mu.Lock()
		silent := c.silent
		c.mu.Unlock()
		if !silent || err != nil {
			return n, err
		}
	}
}

func (c *faultyConn) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	return c.Conn.Close()
}
