// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// ErrResync is what Sink.Update returns when what it has told of is no longer what the
// maps hold: the next stream begins as that of a new process does.
var ErrResync = errors.New("the stream begins anew")

// errAsked ends a stream because Reconnect was called.
var errAsked = errors.New("asked to connect again")

// Config is what a Client is told.
type Config struct {
	Endpoint Endpoint
	Variant  Variant
	Node     Identity
	Log      *logrus.Logger
	// Changed is called when a stream has opened or ended, when a first sync is over and
	// when a type of resources begins or ceases to have rejected ones; nil: nobody is.
	// It must not wait for anything.
	Changed func()

	// Of tests; nil: the real ones.
	after  func(time.Duration) <-chan time.Time
	jitter func(time.Duration) time.Duration
}

// Check says what is wrong with the configuration: *exit.Error with code Usage.
func (c *Config) Check() error {
	if err := c.Endpoint.check(); err != nil {
		return err
	}
	return c.Node.check()
}

// Client keeps one stream open, and opens the next one when it ends.
type Client struct {
	cfg  Config
	sink Sink
	subs []*subscription

	told  string // the last reason for having no stream
	mute  bool   // nothing was heard since a stream failed: being connected may mean little
	first sync.Once
	done  chan struct{} // all has come once

	mu     sync.Mutex
	state  State
	lost   bool                    // Resync was called
	cancel context.CancelCauseFunc // ends the stream that is open or being opened
	asked  chan struct{}           // Reconnect was called
}

// New returns a Client, which connects when it is run. What is wrong with cfg is
// *exit.Error with code Usage.
func New(cfg Config, sink Sink) (*Client, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.after == nil {
		cfg.after = time.After
	}
	if cfg.jitter == nil {
		cfg.jitter = func(d time.Duration) time.Duration { return rand.N(d) }
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	c := &Client{cfg: cfg, sink: sink, done: make(chan struct{}), asked: make(chan struct{}, 1)}
	c.state = State{Address: cfg.Endpoint.Address, Variant: cfg.Variant, Since: time.Now()}
	for _, url := range sink.Types() {
		c.subs = append(c.subs, &subscription{url: url})
		c.state.Types = append(c.state.Types, TypeState{TypeURL: url})
	}
	return c, nil
}

// Run keeps the stream open until ctx is done.
func (c *Client) Run(ctx context.Context) {
	back := waits{jitter: c.cfg.jitter}
	for {
		delivered, err := c.once(ctx)
		if ctx.Err() != nil {
			c.ended(nil)
			return
		}
		if delivered {
			back.reset()
		}
		if errors.Is(err, errAsked) {
			c.ended(nil)
			c.cfg.Log.Info("xds: connecting again, as asked")
			continue
		}
		c.ended(err)
		wait := back.next()
		c.tell(err, wait)
		select {
		case <-ctx.Done():
			return
		case <-c.asked:
			back.reset()
		case <-c.cfg.after(wait):
		}
	}
}

// once opens a stream and serves it until it ends; delivered says whether a response was
// taken.
func (c *Client) once(ctx context.Context) (delivered bool, err error) {
	streamCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.mu.Lock()
	c.cancel = cancel
	select { // what was asked before is done now
	case <-c.asked:
	default:
	}
	if c.lost {
		c.lost = false
		c.forget()
	}
	c.mu.Unlock()
	s := &session{c: c, ctx: ctx}
	err = s.run(streamCtx)
	if cause := context.Cause(streamCtx); errors.Is(cause, errAsked) || errors.Is(cause, ErrResync) {
		err = cause
	}
	if errors.Is(err, ErrResync) {
		c.forget()
	}
	return s.delivered, err
}

// Reconnect ends the stream and opens another one at once, with files read anew. What is
// in force stays.
func (c *Client) Reconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case c.asked <- struct{}{}:
	default:
	}
	if c.cancel != nil {
		c.cancel(errAsked)
	}
}

// Resync ends the stream, and has the next one begin as after ErrResync: the sink has come
// to know without a response that the maps hold something else.
func (c *Client) Resync() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
	if c.cancel != nil {
		c.cancel(ErrResync)
	}
}

// forget makes the next stream begin as that of a new process does.
func (c *Client) forget() {
	for _, sub := range c.subs {
		sub.inForce = nil
	}
}

// FirstSync is closed when all that was asked for has come and is in force for the
// first time.
func (c *Client) FirstSync() <-chan struct{} { return c.done }

// CheckSynced looks whether the first sync is over. It is looked at after each response;
// whoever else brings something into force calls it.
func (c *Client) CheckSynced() {
	if ok, _ := c.sink.Synced(); ok {
		c.first.Do(func() {
			c.cfg.Log.Info("xds: all that was asked for has come and is in force")
			close(c.done)
			c.cfg.Changed()
		})
	}
}

// State says how the client is doing.
func (c *Client) State() State {
	synced, missing := c.sink.Synced()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	s.Types = append([]TypeState(nil), c.state.Types...)
	s.Synced, s.Missing = synced, missing
	return s
}

// change changes the state.
func (c *Client) change(do func(*State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do(&c.state)
}

func (c *Client) connected() {
	if !c.mute {
		c.tellConnected()
	}
	c.change(func(s *State) { s.Connected, s.Since = true, time.Now() })
	c.cfg.Changed()
}

// heard says that the control plane talks. One that refuses whoever asks does so once the
// stream is open: after a failure this, and no stream, is what tells that all is well.
func (c *Client) heard() {
	if c.mute {
		c.mute = false
		c.tellConnected()
	}
}

func (c *Client) tellConnected() {
	c.cfg.Log.Infof("xds: connected to %s (%s)", c.cfg.Endpoint.Address, c.cfg.Variant)
}

// ended says that no stream is open; err nil: by our own wish.
func (c *Client) ended(err error) {
	c.change(func(s *State) {
		if s.Connected {
			s.Connected, s.Since = false, time.Now()
		}
		if err != nil {
			s.Failures++
			s.LastError = clip(err.Error(), 2*mostReason)
		}
	})
	c.cfg.Changed()
}

// tell logs why there is no stream, once for each reason.
func (c *Client) tell(err error, wait time.Duration) {
	c.mute = true
	level := logrus.WarnLevel
	if c.told == err.Error() {
		level = logrus.DebugLevel
	}
	c.told = err.Error()
	c.cfg.Log.Logf(level, "xds: no stream from %s, what is in force stays; next attempt in %v: %v", c.cfg.Endpoint.Address,
		wait.Round(time.Millisecond), err)
}
