// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
)

// observed is a listener whose connections have look called before anything is written.
type observed struct {
	net.Listener
	look func()
}

func (o observed) Accept() (net.Conn, error) {
	c, err := o.Listener.Accept()
	return observedConn{c, o.look}, err
}

type observedConn struct {
	net.Conn
	look func()
}

func (c observedConn) Write(b []byte) (int, error) {
	c.look()
	return c.Conn.Write(b)
}

// The server writes a small answer when its handler is over: nobody may take the place then.
func TestAGuestKeepsItsPlaceUntilTheAnswerHasLeft(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var r *room
	gone, writes := false, 0
	r = newRoom(observed{l, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		writes++
		gone = gone || r.sendAway()
	}}, 1)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.WriteString(w, "ok\n"); err != nil {
			t.Error(err)
		}
	})}
	seat(s)
	ended := make(chan error)
	go func() { ended <- s.Serve(r) }()
	for range 3 { // on one connection
		a, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(a.Body); err != nil || string(b) != "ok\n" {
			t.Errorf("%q, %v", b, err)
		}
		if err := a.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Fatal(err)
	}
	if gone || writes != 3 {
		t.Errorf("sent away while it was being answered: %v; %d writes", gone, writes)
	}
}
