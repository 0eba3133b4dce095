// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

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
	variant, err := oneOf(ctx, "xds-variant", string(xdsclient.SotW), string(xdsclient.Delta))
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
	stop     context.CancelFunc
	ended    chan struct{}
	news     chan struct{} // its String has changed
}

// newLive returns the part, which changes the maps through d's keeper.
func newLive(d *daemon, s *xdsSettings) (*live, error) {
	var sink xdsclient.Sink = livexds.NewWorkload(d.keeper, d.cfg.Log)
	if d.cfg.Mode == loader.Ads {
		sink = livexds.NewAds(d.keeper, d.cfg.Log)
	}
	l := &live{d: d, settings: s, news: make(chan struct{}, 1)}
	s.client.Changed = func() {
		select {
		case l.news <- struct{}{}:
		default:
		}
	}
	var err error
	l.client, err = xdsclient.New(s.client, sink)
	return l, err
}

// start connects, and waits for the first sync, but not for ever: what the maps hold is
// in force meanwhile.
func (l *live) start(ctx context.Context) error {
	address, wait := l.settings.client.Endpoint.Address, l.settings.timeout
	l.d.notify.Extend(wait+stepTime, "waiting for the first sync from "+address)
	runCtx, stop := context.WithCancel(ctx)
	l.stop, l.ended = stop, make(chan struct{})
	go func() {
		defer close(l.ended)
		l.client.Run(runCtx)
	}()
	begun := time.Now()
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	// What comes into force otherwise than by a response does not announce itself.
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.client.FirstSync():
			l.d.cfg.Log.Infof("ready: synced with %s after %v", address, time.Since(begun).Round(time.Millisecond))
			return nil
		case <-timeout.C:
			l.d.cfg.Log.Warnf("ready without a full sync, --xds-sync-timeout %v is over: %s; what the maps hold is in force", wait, l)
			return nil
		case <-look.C:
			l.client.CheckSynced()
		}
	}
}

const lookInterval = 100 * time.Millisecond

func (l *live) close() error {
	l.stop()
	<-l.ended
	return nil
}

// String says in a few words how it is doing.
func (l *live) String() string {
	s := l.client.State()
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
