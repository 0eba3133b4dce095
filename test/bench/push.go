// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/core"
	"github.com/kmesh-net/kmesh-node/proto/endpoint"
	"github.com/kmesh-net/kmesh-node/proto/filter"
	"github.com/kmesh-net/kmesh-node/proto/listener"
)

// The pusher is this program once more, under `kmesh-node exec`: it publishes the
// service's listener and cluster in one batch after another until its input ends.

const (
	pushEnv       = "KMESH_BENCH_PUSH"
	pushSame      = "same"      // what is there already
	pushAlternate = "alternate" // another listener and other endpoints each time
	missLength    = 100000
)

// pushed is what the pusher says at the end.
type pushed struct {
	Batches     uint64 `json:"batches"`
	Generations uint64 `json:"generations"` // publications that changed something
}

func netOrder(port uint16) uint32 { return uint32(port>>8 | port<<8) }

func socketAddress(a netip.AddrPort) *core.SocketAddress {
	b := a.Addr().As4()
	// Network byte order: the bytes of the address as they lie in memory.
	ip := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
	return &core.SocketAddress{Port: netOrder(a.Port()), Ipv4: ip}
}

// batch is the service with these endpoints; tag is part of the listener.
func batch(tag string, endpoints []netip.AddrPort) []store.Op {
	var lb []*endpoint.Endpoint
	for _, e := range endpoints {
		lb = append(lb, &endpoint.Endpoint{Address: socketAddress(e)})
	}
	proxy := &filter.TcpProxy{
		StatPrefix:       tag,
		ClusterSpecifier: &filter.TcpProxy_Cluster{Cluster: serviceName},
	}
	return []store.Op{
		{Message: &cluster.Cluster{
			Name: serviceName,
			LoadAssignment: &endpoint.ClusterLoadAssignment{
				ClusterName: serviceName,
				Endpoints:   []*endpoint.LocalityLbEndpoints{{LbEndpoints: lb}},
			},
		}},
		{Message: &listener.Listener{
			Name: serviceName, Address: socketAddress(service),
			FilterChains: []*listener.FilterChain{{
				Filters: []*listener.Filter{{ConfigType: &listener.Filter_TcpProxy{TcpProxy: proxy}}},
			}},
		}},
	}
}

// pushUntilEOF is the pusher. It writes a line once the service is there, and
// another at the end.
func pushUntilEOF(mode string) (err error) {
	s, err := store.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(true)) }()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, "bench: pusher:", err)
		}
	}()
	batches := [][]store.Op{batch("a", backends), batch("b", backends[1:2])}
	if mode == pushSame {
		batches = batches[:1]
	}
	if err := s.Publish(batches[0]); err != nil {
		return err
	}
	before, err := s.Stats()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var done pushed
	for {
		select {
		case <-ended:
			after, err := s.Stats()
			if err != nil {
				return err
			}
			done.Generations = after.Generation - before.Generation
			return json.NewEncoder(os.Stdout).Encode(done)
		default:
		}
		done.Batches++
		if err := s.Publish(batches[done.Batches%uint64(len(batches))]); err != nil {
			return err
		}
	}
}

// measureMisses adds how many connections went where the application asked, past
// the configuration, while the configuration was being replaced.
func (b *bench) measureMisses() error {
	for _, mode := range []string{pushSame, pushAlternate} {
		if err := b.fresh(b.enrolled); err != nil {
			return err
		}
		if err := b.configure(); err != nil {
			return err
		}
		a, done, err := b.connectWhilePushing(mode)
		if err != nil {
			return err
		}
		missed := len(a.nanos)
		for _, e := range backends {
			missed -= a.at[e]
		}
		b.report.add(row{
			Figure: "connects that miss while pushing, " + mode + " content", Unit: "of 100 000",
			Reference: some(23000), Target: some(0), Ours: some(float64(missed)),
			Note: fmt.Sprintf("%d batches of a listener and its cluster were pushed meanwhile, %d changed something", done.Batches, done.Generations),
		})
	}
	return nil
}

func (b *bench) connectWhilePushing(mode string) (a *arrivals, done pushed, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, done, err
	}
	cmd := exec.Command(filepath.Join(b.build, "kmesh-node"), b.args("exec", "--", self)...)
	cmd.Env = append(os.Environ(), pushEnv+"="+mode)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, done, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, done, err
	}
	if err := cmd.Start(); err != nil {
		return nil, done, fmt.Errorf("start the pusher: %w", err)
	}
	defer func() {
		if werr := cmd.Wait(); werr != nil {
			err = errors.Join(err, fmt.Errorf("pusher: %w", werr))
		}
	}()
	defer in.Close()
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil {
		return nil, done, fmt.Errorf("wait for the pusher: %w", err)
	}
	err = b.enrolled.inside(func() error {
		a, err = b.enrolled.connect(missLength, service)
		return err
	})
	if err != nil {
		return nil, done, err
	}
	if err := in.Close(); err != nil {
		return nil, done, fmt.Errorf("stop the pusher: %w", err)
	}
	if err := json.NewDecoder(lines).Decode(&done); err != nil {
		return nil, done, fmt.Errorf("read what the pusher did: %w", err)
	}
	return a, done, nil
}
