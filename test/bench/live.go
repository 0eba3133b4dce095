// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

// livePatience is for one thing that a run and its control plane do together.
const livePatience = 2 * time.Minute

// A live is a `run` that a control plane of the benchmark's configures.
type live struct {
	*process
	ctx    context.Context
	cancel context.CancelFunc
	peer   *controlplane.Peer
	stream *controlplane.Stream
	opened time.Time // the stream
	heard  int       // requests that are no answers to pushes to come; 0: not counted yet
	notify *net.UnixConn
	said   string // file with what it wrote
}

// startLive brings up an empty data plane with one pod enrolled, and a run on it that
// has opened a stream; flags are more ones of run. Nothing that it does by the clock falls into a measurement.
func (b *bench) startLive(f *fleet, variant string, flags ...string) (l *live, err error) {
	if err := b.fresh(b.enrolled); err != nil {
		return nil, err
	}
	l = &live{process: &process{}, peer: controlplane.NewPeer(controlplane.Config{}), said: filepath.Join(b.stateDir, "run.log")}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	defer func() { l, err = l.unless(err) }()
	if err := l.peer.Start(); err != nil {
		return l, err
	}
	socket := filepath.Join(b.stateDir, "notify")
	if l.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"}); err != nil {
		return l, err
	}
	said, err := os.Create(l.said)
	if err != nil {
		return l, err
	}
	defer said.Close()
	args := []string{"run", "--xds-address", l.peer.Address(), "--xds-variant", variant, "--xds-node-ip", fleetNet.String(),
		"--admin-address", "off", "--reconcile-interval", "1h"}
	if b.mode == modeWorkload && f.Services > smallFleet {
		args = append(args, "--workloads", "131072")
	}
	args = append(args, flags...)
	l.cmd = exec.Command(filepath.Join(b.build, "kmesh-node"), b.args(args...)...)
	l.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	l.cmd.Stderr = said
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		return l, fmt.Errorf("start run: %w", err)
	}
	ctx, cancel := context.WithTimeout(l.ctx, livePatience)
	defer cancel()
	if l.stream, err = l.peer.Stream(ctx); err != nil {
		return l, err
	}
	l.opened = time.Now()
	return l, nil
}

// ready waits until the run says that it is.
func (l *live) ready() error {
	if err := l.notify.SetReadDeadline(time.Now().Add(livePatience)); err != nil {
		return err
	}
	b := make([]byte, 1<<16)
	for {
		n, err := l.notify.Read(b)
		if err != nil {
			return fmt.Errorf("wait for run to be ready: %w", err)
		}
		if bytes.HasPrefix(b[:n], []byte("READY=1")) {
			return nil
		}
	}
}

// unless is l where nothing went wrong; else all is ended, and the error ends in what
// the run said.
func (l *live) unless(err error) (*live, error) {
	if err == nil {
		return l, nil
	}
	err = errors.Join(err, l.stop())
	said, readErr := os.ReadFile(l.said)
	text := strings.TrimSpace(string(said))
	return nil, errors.Join(fmt.Errorf("%w: run said: %s", err, text[max(0, len(text)-600):]), readErr)
}

// stop ends the run and its control plane.
func (l *live) stop() (err error) {
	defer l.cancel()
	if l.cmd != nil && l.cmd.Process != nil {
		err = errors.Join(l.cmd.Process.Signal(syscall.SIGTERM), l.cmd.Wait())
	}
	if l.notify != nil {
		err = errors.Join(err, l.notify.Close(), os.Remove(l.notify.LocalAddr().String()))
	}
	l.peer.Stop()
	return errors.Join(err, l.peer.Err())
}

// play exchanges responses, all of which must be taken.
func (l *live) play(list []controlplane.Response) error {
	ctx, cancel := context.WithTimeout(l.ctx, livePatience)
	defer cancel()
	return l.stream.Play(ctx, list...)
}

// push sends a response and waits until it is taken.
func (l *live) push(r controlplane.Response) error {
	ctx, cancel := context.WithTimeout(l.ctx, livePatience)
	defer cancel()
	if l.heard == 0 {
		l.heard = len(l.peer.Requests())
	}
	nonce, err := l.stream.Send(r)
	if err != nil {
		return err
	}
	q, err := l.peer.WaitAfter(ctx, l.heard, func(q controlplane.Request) bool {
		l.heard++
		return q.Nonce == nonce
	})
	if err == nil && q.NACK() {
		err = fmt.Errorf("the response was rejected: %s", q.Error)
	}
	return err
}

// A fleet is a mesh that is pushed whole, and then changed by an endpoint at a time.
type fleet struct {
	controlplane.Fleet
	all []controlplane.Response
}

const fleetEndpoints = 10

func newFleet(mode string, services int) (*fleet, error) {
	f := &fleet{Fleet: controlplane.Fleet{Services: services, Endpoints: fleetEndpoints}}
	var err error
	if mode == modeAds {
		f.all, err = f.Envoy()
	} else {
		f.all, err = f.Ambient()
	}
	return f, err
}

// change is a push that gives endpoint 0 of service i another address, the n-th of some.
func (f *fleet) change(mode string, i, n int) (controlplane.Response, error) {
	to := f.Spare(n)
	if mode == modeWorkload {
		return f.WorkloadOf(i, 0, to)
	}
	endpoints := f.Of(i)
	endpoints[0] = to
	return f.EndpointsOf(i, endpoints...)
}
