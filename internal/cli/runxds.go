// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/keeper"
	"github.com/kmesh-net/kmesh-node/internal/livexds"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/loader"
)

// syncTimeout is for the first sync: a control plane may be away for long, and the host's
// start must not wait for it.
const syncTimeout = 30 * time.Second

const xdsAddress = "xds-address"

// xdsFlags are those of run about a control plane.
func xdsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: xdsAddress, Usage: "control plane, HOST:PORT or unix:PATH, whose configuration is in force; excludes --config"},
		&cli.StringFlag{Name: "xds-variant", Value: string(xdsclient.Delta), Usage: "protocol on the stream: delta, or in ads mode also sotw"},
		&cli.StringFlag{Name: "xds-ca", Usage: "file with the CA of the control plane's certificate (default: the host's roots)"},
		&cli.StringFlag{Name: "xds-server-name", Usage: "name in the control plane's certificate (default: the host of --xds-address)"},
		&cli.StringFlag{Name: "xds-token-file", Usage: "file with a bearer token; it is read again for each stream"},
		&cli.BoolFlag{Name: "xds-plaintext", Usage: "no TLS, also to another host"},
		&cli.DurationFlag{Name: "xds-sync-timeout", Value: syncTimeout, Usage: "how long readiness waits for the first full sync"},
		&cli.StringFlag{Name: "xds-node-ip", Usage: "this node's addresses, separated by commas (default: INSTANCE_IP, or the host's)"},
		&cli.StringFlag{Name: "xds-pod-name", Usage: "this pod to the control plane (default: POD_NAME, or the host's name)"},
		&cli.StringFlag{Name: "xds-pod-namespace", Usage: "namespace of this pod (default: POD_NAMESPACE, or default)"},
		&cli.StringFlag{Name: "xds-service-account", Usage: "service account of this pod (default: SERVICE_ACCOUNT)"},
		&cli.StringFlag{Name: "xds-domain", Value: "cluster.local", Usage: "domain of the cluster"},
		&cli.StringFlag{Name: "xds-cluster-id", Value: "Kubernetes", Usage: "what the control plane calls the cluster"},
	}
}

// xdsSettings are what the flags about a control plane say.
type xdsSettings struct {
	client  xdsclient.Config
	timeout time.Duration
}

// readXDS reads the flags about a control plane; nil where there is to be none.
func readXDS(ctx *cli.Context, cfg *loader.Config) (*xdsSettings, error) {
	address := ctx.String(xdsAddress)
	if address == "" {
		for _, f := range xdsFlags() {
			if name := f.Names()[0]; ctx.IsSet(name) && name != xdsAddress {
				return nil, usage("--%s is about a control plane: give --%s too", name, xdsAddress)
			}
		}
		return nil, nil
	}
	if len(listFlag(ctx, "config")) > 0 {
		return nil, usage("--%s and --config: what is in force comes from one of them (the unit's KMESH_NODE_CONFIG may be set empty)", xdsAddress)
	}
	variant, err := enumOf(ctx, "xds-variant")
	if err != nil {
		return nil, err
	}
	if cfg.Mode == loader.Workload && variant != string(xdsclient.Delta) {
		return nil, usage("--xds-variant %s: --mode workload has delta alone", variant)
	}
	s := &xdsSettings{timeout: ctx.Duration("xds-sync-timeout")}
	if s.timeout < 0 {
		return nil, usage("--xds-sync-timeout %v is negative", s.timeout)
	}
	s.client = xdsclient.Config{Variant: xdsclient.Variant(variant), Log: cfg.Log, Endpoint: xdsclient.Endpoint{
		Address: address, Plaintext: ctx.Bool("xds-plaintext"), CA: ctx.String("xds-ca"),
		ServerName: ctx.String("xds-server-name"), TokenFile: ctx.String("xds-token-file"),
	}}
	s.client.Node, err = readIdentity(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return s, s.client.Check()
}

// readIdentity reads who this node is to the control plane.
func readIdentity(ctx *cli.Context, cfg *loader.Config) (xdsclient.Identity, error) {
	or := func(flag, variable, otherwise string) string {
		for _, v := range []string{ctx.String(flag), os.Getenv(variable)} {
			if v != "" {
				return v
			}
		}
		return otherwise
	}
	id := xdsclient.Identity{
		Name: or("xds-pod-name", "POD_NAME", ""), Namespace: or("xds-pod-namespace", "POD_NAMESPACE", "default"),
		ServiceAccount: or("xds-service-account", "SERVICE_ACCOUNT", ""),
		NodeName:       or("node-name", "NODE_NAME", ""),
		Domain:         ctx.String("xds-domain"), ClusterID: ctx.String("xds-cluster-id"), Release: cfg.Release,
		Region: cfg.Workload.Region, Zone: cfg.Workload.Zone, Subzone: cfg.Workload.Subzone,
	}
	if ips := or("xds-node-ip", "INSTANCE_IP", ""); ips != "" {
		for _, word := range strings.Split(ips, ",") {
			ip, err := netip.ParseAddr(word)
			if err != nil {
				return id, usage("--xds-node-ip %s: %q is no address", xds.Clip(ips), xds.Clip(word))
			}
			id.IPs = append(id.IPs, ip.Unmap())
		}
	}
	return id, nil
}

// live is the part of `run` that a control plane configures.
type live struct {
	d        *daemon
	settings *xdsSettings
	client   *xdsclient.Client
	news     chan struct{} // its String has changed
	sink     sink

	mu   sync.Mutex // of what follows, and of ControlFiles
	stop func()     // ends the client; nil: it does not run
}

// newLive returns the part, which changes the maps through d's keeper.
func newLive(d *daemon, s *xdsSettings) (l *live, err error) {
	l = &live{d: d, settings: s, news: make(chan struct{}, 1)}
	l.client, l.sink, err = l.clientOf(d.keeper, l.tell)
	return l, err
}

// sink is what a client changes the maps by.
type sink interface {
	xdsclient.Sink
	OnLost(do func())
	Look()  // finds what others removed
	Close() // returns when the sink does nothing by itself any more
}

// clientOf is a client that changes the maps of k. changed may be nil.
func (l *live) clientOf(k *keeper.Keeper, changed func()) (client *xdsclient.Client, s sink, err error) {
	cfg := l.settings.client
	cfg.Changed = changed
	if l.d.cfg.Mode == loader.Workload {
		s = livexds.NewWorkload(k, l.d.cfg.Log)
	} else {
		ads := livexds.NewAds(k, l.d.cfg.Log)
		ads.OnChange(func() { client.CheckSynced() })
		s = ads
	}
	if client, err = xdsclient.New(cfg, s); err == nil {
		s.OnLost(client.Resync)
	}
	return client, s, err
}

// tell says that the state has changed.
func (l *live) tell() {
	l.writeDown()
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *live) writeDown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop == nil {
		return // not begun, or over
	}
	if err := writeDown(l.d.cfg.ControlFiles(), reportOf(l.client.State())); err != nil {
		l.d.cfg.Log.WithError(err).Warn("status does not hear of the control plane")
	}
}

// connect has the client run until stop is called, which waits for its end.
func connect(ctx context.Context, client *xdsclient.Client) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		client.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// synced waits for the first sync, but not for ever.
func (l *live) synced(ctx context.Context, client *xdsclient.Client) bool {
	timeout := time.NewTimer(l.settings.timeout)
	defer timeout.Stop()
	select {
	case <-client.FirstSync():
		return true
	case <-ctx.Done():
		return false
	case <-timeout.C:
		return false
	}
}

func (l *live) extend() {
	l.d.notify.Extend(l.settings.timeout+stepTime, "waiting for the first sync from "+l.settings.client.Endpoint.Address)
}

// start connects, and waits for the first sync: what the maps hold is in force meanwhile,
// and after the wait.
func (l *live) start(ctx context.Context) error {
	l.extend()
	l.mu.Lock()
	l.stop = connect(ctx, l.client)
	l.mu.Unlock()
	l.writeDown()
	begun := time.Now()
	switch synced := l.synced(ctx, l.client); {
	case synced:
		l.d.cfg.Log.Infof("ready: synced with %s after %v", l.settings.client.Endpoint.Address, time.Since(begun).Round(time.Millisecond))
	case ctx.Err() == nil:
		l.d.cfg.Log.Warnf("ready without a full sync, --xds-sync-timeout %v is over: %s; what the maps hold is in force", l.settings.timeout, l)
	}
	return nil
}

// configure syncs maps that are not in use yet: the other mode is, until they have
// everything. Where that does not come in time, the change of mode ends.
func (l *live) configure(ctx context.Context, h *loader.Handles) error {
	l.extend()
	return l.d.keeper.Aside(func() (err error) {
		k := keeper.Over(l.d.cfg, h)
		defer func() { err = errors.Join(err, k.Close()) }()
		// It tells nobody: to ask the other client how it is doing would wait for its
		// sink, and that one may be waiting for the keeper, which is held here.
		client, sink, err := l.clientOf(k, nil)
		if err != nil {
			return err
		}
		defer sink.Close()
		defer connect(ctx, client)()
		switch synced := l.synced(ctx, client); {
		case synced:
			return nil
		case ctx.Err() != nil:
			return loader.ErrInterrupted
		}
		return &exit.Error{Code: exit.NotReady, Step: "configure mode " + string(l.d.cfg.Mode), Object: l.settings.client.Endpoint.Address,
			Err: fmt.Errorf("--xds-sync-timeout %v is over: %s", l.settings.timeout, sayState(client.State())), Remedy: "the mode that is up stays"}
	})
}

func (l *live) close() error {
	l.stop()
	l.sink.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop = nil
	return removeIfThere(l.d.cfg.ControlFiles()[0])
}

// String says in a few words how it is doing.
func (l *live) String() string { return sayState(l.client.State()) }

func sayState(s xdsclient.State) string {
	text := "xds synced"
	if !s.Synced {
		text = "xds not synced: " + s.Missing + " missing"
	}
	if s.Connected {
		text += ", connected to " + s.Address
	} else {
		text += ", no stream from " + s.Address
		if s.LastError != "" {
			text += ": " + s.LastError
		}
	}
	for _, t := range s.Types {
		if t.LastError != "" {
			text += fmt.Sprintf("; %s: %s", t.TypeURL[strings.LastIndexByte(t.TypeURL, '.')+1:], xds.Clip(t.LastError))
		}
	}
	return text
}
