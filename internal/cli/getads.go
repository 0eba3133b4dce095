// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"io"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/loader"
)

func adsNouns() []noun {
	of := func(k config.Kind, plural string, words ...string) noun {
		return noun{loader.Ads, words, plural,
			func(c *command, ctx *cli.Context, name string) error { return c.getKind(ctx, k, name) },
			func(c *command, ctx *cli.Context, name string) error { return c.deleteKind(ctx, k, name) }}
	}
	return []noun{
		of(config.Listener, "listeners", "listener"),
		of(config.Cluster, "clusters", "cluster"),
		of(config.Route, "routes", "route", "routeconfiguration"),
		{mode: loader.Ads, words: []string{"endpoint"}, plural: "endpoints", get: (*command).getEndpoints},
	}
}

// find returns the resources of a kind, only those of that name or, for a
// Listener, address, where one is given.
func find(s *store.Store, step string, kind config.Kind, name string) ([]proto.Message, error) {
	all, err := s.List(kind)
	if err != nil || name == "" {
		return all, storeError(step, err)
	}
	var l []proto.Message
	for _, m := range all {
		if config.NameOf(m) == name || config.KeyOf(m) == name {
			l = append(l, m)
		}
	}
	if len(l) == 0 {
		return nil, &exit.Error{Code: exit.NotUp, Step: step, Object: kind.String() + " " + name, Err: store.ErrNotFound}
	}
	return l, nil
}

func (c *command) getKind(ctx *cli.Context, kind config.Kind, name string) error {
	return c.withStore(ctx, "get", func(s *store.Store, _ *loader.Handles) error {
		found, err := find(s, "get", kind, name)
		if err != nil {
			return err
		}
		data := make([]map[string]any, 0, len(found))
		for _, m := range found {
			v, err := xds.Render(m)
			if err != nil {
				return err
			}
			data = append(data, v)
		}
		return c.print(ctx, data, func(w io.Writer) error {
			t := table{head: heading(kind)}
			for _, m := range found {
				t.rows = append(t.rows, summary(m))
			}
			return t.print(w)
		})
	})
}

// clusterEndpoints are the endpoints of one cluster as connects saw them.
type clusterEndpoints struct {
	Cluster   string                `json:"cluster"`
	Endpoints []store.EndpointState `json:"endpoints"`
}

func (c *command) getEndpoints(ctx *cli.Context, name string) error {
	const step = "get endpoints"
	return c.withStore(ctx, step, func(s *store.Store, _ *loader.Handles) error {
		clusters, err := find(s, step, config.Cluster, name)
		if err != nil {
			return err
		}
		data, err := endpointsOf(s, step, clusters)
		if err != nil {
			return err
		}
		return c.print(ctx, data, func(w io.Writer) error { return endpointTable(data).print(w) })
	})
}

func endpointsOf(s *store.Store, step string, clusters []proto.Message) ([]clusterEndpoints, error) {
	data := []clusterEndpoints{}
	for _, m := range clusters {
		n := config.NameOf(m)
		l, err := s.Endpoints(n)
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted in between
		}
		if err != nil {
			return nil, storeError(step, err)
		}
		data = append(data, clusterEndpoints{n, nonNil(l)})
	}
	return data, nil
}

func endpointTable(data []clusterEndpoints) *table {
	t := &table{head: []string{"CLUSTER", "ENDPOINT", "GROUP", "WEIGHT", "ACTIVE", "OK", "AVG", "MAX", "REFUSED", "TIMEOUTS", "ERRORS", "EJECTIONS", "EJECTED FOR"}}
	for _, cl := range data {
		for _, e := range cl.Endpoints {
			ejected := "-"
			if e.EjectedFor > 0 {
				ejected = e.EjectedFor.Round(100 * time.Millisecond).String()
			}
			t.add(cl.Cluster, e.Address, e.Group, e.Weight, e.Active, e.OK, e.LatencyAvg, e.LatencyMax,
				e.Refused, e.Timeouts, e.Errors, e.Ejections, ejected)
		}
	}
	return t
}

func (c *command) deleteKind(ctx *cli.Context, kind config.Kind, name string) error {
	const step = "delete"
	return c.withStore(ctx, step, func(s *store.Store, _ *loader.Handles) error {
		found, err := find(s, step, kind, name)
		if err != nil {
			return err
		}
		ops := make([]store.Op, 0, len(found))
		for _, m := range found {
			ops = append(ops, store.Op{Delete: true, Message: m})
		}
		if err := s.Publish(ops); err != nil {
			return storeError(step, err)
		}
		return c.printDeleted(ctx, kind.String(), name, len(ops))
	})
}
