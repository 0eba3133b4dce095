// SPDX-License-Identifier: Apache-2.0

// Package admin is the HTTP server that people, probes and Prometheus ask how a live
// `run` is: on loopback or a unix socket by default, read-only on any other address.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	maxConnections = 64
	maxHeader      = 16 << 10
	headerTime     = 5 * time.Second
	idleTime       = 30 * time.Second
	// writeTime is what a slow reader of an answer gets, and the longest profile.
	writeTime = time.Minute
	// closeTime is what requests under way get at the end.
	closeTime = time.Second
)

// Config says where to listen and what the answers are. All functions may be called by
// several goroutines.
type Config struct {
	// Address is HOST:PORT, or unix:PATH.
	Address string
	// Writes are taken also where the address is not loopback, and profiles given.
	Writes bool
	// Profiles serves /debug/pprof/.
	Profiles bool
	Log      *logrus.Logger

	// Healthy returns why the process is not, nil when it is.
	Healthy func() error
	// Ready looks, and returns one line for each reason why things are not as they should be.
	Ready   func(context.Context) []string
	Metrics http.Handler
	// Dump reads what the kernel's maps hold and returns what writes it out, which is
	// called once.
	Dump func(ctx context.Context, kind string) (func(io.Writer) error, error)
	// Levels are what /debug/loglevel gets and sets.
	Levels []Level
}

// Level is a log level that can be set.
type Level struct {
	Name   string
	Values []string
	Get    func() (string, error)
	Set    func(string) error
}

// Server is a server that listens.
type Server struct {
	cfg      Config
	listener net.Listener
	http     *http.Server
	open     bool // it can be reached from other hosts
	done     chan struct{}
	unlink   func() error
}

// Serve listens where cfg says and answers until Close. The error names the address, and
// says so where another process has it.
func Serve(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, done: make(chan struct{})}
	var err error
	if s.listener, s.unlink, err = listen(cfg.Address); err != nil {
		return nil, err
	}
	s.open = reachable(s.listener.Addr())
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: writeTime,
		IdleTimeout: idleTime, MaxHeaderBytes: maxHeader, ErrorLog: log.New(debugLog{cfg.Log}, "admin: ", 0),
	}
	seat(s.http)
	go func() {
		defer close(s.done)
		if err := s.http.Serve(newRoom(s.listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			cfg.Log.WithError(err).Error("the admin endpoint has ended")
		}
	}()
	return s, nil
}

// Addr is the address that is listened on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// String is where clients reach it, as Config.Address says it.
func (s *Server) String() string {
	if strings.HasPrefix(s.cfg.Address, unixPrefix) {
		return s.cfg.Address // the listener knows the socket by a descriptor
	}
	return s.listener.Addr().String()
}

// Close ends all requests and frees the address.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.done
	if err = errors.Join(err, s.unlink()); err != nil {
		return fmt.Errorf("close admin endpoint: %w", err)
	}
	return nil
}

// debugLog takes what the server tells of strangers: it is no news.
type debugLog struct{ *logrus.Logger }

func (l debugLog) Write(b []byte) (int, error) {
	l.Debug(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}
