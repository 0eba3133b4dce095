// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"sync"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/log"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/protobuf/proto"
)

// Live is go-control-plane's server: a snapshot of Envoy's types for both variants, and
// Istio's types for delta.
type Live struct {
	*plane

	ads   cache.SnapshotCache
	ambit map[string]*cache.LinearCache // by type URL

	mu      sync.Mutex
	version int
}

// everybody is the one node that the snapshot has.
const everybody = "all"

type everyNode struct{}

func (everyNode) ID(*core.Node) string { return everybody }

// NewLive returns a control plane that does not listen yet and has nothing of ads mode
// to say until it is Set; of Istio's types it is empty.
func NewLive(cfg Config) *Live {
	quiet := log.LoggerFuncs{}
	l := &Live{plane: newPlane(cfg), ads: cache.NewSnapshotCache(true, everyNode{}, quiet), ambit: map[string]*cache.LinearCache{}}
	mux := &cache.MuxCache{Caches: map[string]cache.Cache{"": l.ads}}
	for _, url := range []string{Address, Authorization} {
		l.ambit[url] = cache.NewLinearCache(url, cache.WithLogger(quiet))
		mux.Caches[url] = l.ambit[url]
	}
	which := func(url string) string {
		if l.ambit[url] != nil {
			return url
		}
		return ""
	}
	mux.Classify = func(r *cache.Request) string { return which(r.GetTypeUrl()) }
	mux.ClassifyDelta = func(r *cache.DeltaRequest) string { return which(r.GetTypeUrl()) }
	l.service = server.NewServer(context.Background(), mux, nil)
	return l
}

// Set makes these responses all that there is of Envoy's types, and pushes what changed:
// of the state of the world every type, of delta the resources that differ. It must be
// consistent: each EDS cluster has its assignment, each listener its routes, and nothing
// else is there.
func (l *Live) Set(ctx context.Context, list ...Response) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version++
	resources := map[string][]types.Resource{}
	for _, r := range list {
		messages, err := r.messages()
		if err != nil {
			return err
		}
		for _, m := range messages {
			resources[r.Type] = append(resources[r.Type], m)
		}
	}
	snapshot, err := cache.NewSnapshot(fmt.Sprint(l.version), resources)
	if err == nil {
		err = snapshot.Consistent()
	}
	if err != nil {
		return fmt.Errorf("make snapshot: %w", err)
	}
	return l.ads.SetSnapshot(ctx, everybody, snapshot)
}

// Change pushes what a response of one of Istio's types changes.
func (l *Live) Change(r Response) error {
	c := l.ambit[r.Type]
	if c == nil {
		return fmt.Errorf("change %s: no type of Istio's", r.Type)
	}
	messages, err := r.messages()
	if err != nil {
		return err
	}
	update := map[string]types.Resource{}
	for i, m := range messages {
		update[r.Resources[i].Name] = proto.Message(m)
	}
	return c.UpdateResources(update, r.Removed)
}
