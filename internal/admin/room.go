// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// room is a listener with so many connections at once. Where there is no place for another
// one, that which has been silent for the longest time gives up its own, so that silence
// keeps no probe waiting; where all are being answered, one of them has to end.
type room struct {
	net.Listener
	places int

	mu     sync.Mutex
	left   *sync.Cond // a guest, or closed
	guests map[*guest]struct{}
	closed bool
}

// guest is a connection in a room.
type guest struct {
	net.Conn
	room   *room
	busy   bool      // it is being answered
	silent time.Time // since when it is not
	left   error     // of closing it, for who asks again
}

func newRoom(l net.Listener, places int) *room {
	r := &room{Listener: l, places: places, guests: map[*guest]struct{}{}}
	r.left = sync.NewCond(&r.mu)
	return r
}

func (r *room) Accept() (net.Conn, error) {
	c, err := r.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: c, room: r, silent: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.guests) >= r.places && !r.closed && !r.sendAway() {
		r.left.Wait()
	}
	if r.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	r.guests[g] = struct{}{}
	return g, nil
}

// sendAway ends the connection that has been silent for the longest time, if one is.
func (r *room) sendAway() bool {
	var longest *guest
	for g := range r.guests {
		if !g.busy && (longest == nil || g.silent.Before(longest.silent)) {
			longest = g
		}
	}
	if longest == nil {
		return false
	}
	delete(r.guests, longest)
	longest.left = longest.Conn.Close()
	return true
}

func (r *room) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.left.Broadcast()
	return r.Listener.Close()
}

func (g *guest) Close() error {
	g.room.mu.Lock()
	defer g.room.mu.Unlock()
	if _, here := g.room.guests[g]; here {
		delete(g.room.guests, g)
		g.left = g.Conn.Close()
		g.room.left.Broadcast()
	}
	return g.left
}

func (g *guest) set(busy bool) {
	g.room.mu.Lock()
	g.busy, g.silent = busy, time.Now()
	g.room.mu.Unlock()
	if !busy { // it may be sent away
		g.room.left.Broadcast()
	}
}

type guestKey struct{}

// seat has a server, which is to serve a room, say which of its guests are being answered:
// from the call of the handler until the answer has left, which is after it.
func seat(s *http.Server) {
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, guestKey{}, c)
	}
	answer := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g, ok := r.Context().Value(guestKey{}).(*guest); ok {
			g.set(true)
		}
		answer.ServeHTTP(w, r)
	})
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if g, ok := c.(*guest); ok && state == http.StateIdle {
			g.set(false)
		}
	}
}
