// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/loader"
)

// kindOf reads the word for a kind of resource, singular or plural.
func kindOf(word string) (config.Kind, bool) {
	switch strings.TrimSuffix(strings.ToLower(word), "s") {
	case "listener":
		return config.Listener, true
	case "cluster":
		return config.Cluster, true
	case "route", "routeconfiguration":
		return config.Route, true
	}
	return 0, false
}

func (c *command) get() *cli.Command {
	return &cli.Command{Name: "get", Usage: "read back from the kernel's maps", ArgsUsage: "listeners|clusters|routes|endpoints|enrolled [NAME]",
		Action: func(ctx *cli.Context) error {
			word, name := ctx.Args().Get(0), ctx.Args().Get(1)
			if word == "" {
				return usage("get needs a kind: listeners, clusters, routes, endpoints or enrolled")
			}
			if ctx.Args().Len() > 2 {
				return usage("get takes one name, not %q too", ctx.Args().Get(2))
			}
			switch strings.TrimSuffix(strings.ToLower(word), "s") {
			case "endpoint":
				return c.withStore(ctx, "get endpoints", func(s *store.Store, _ *loader.Handles) error { return c.getEndpoints(ctx, s, name) })
			case "enrolled":
				if name != "" {
					return usage("get enrolled takes no name")
				}
				return c.withHandles(ctx, func(_ *loader.Config, h *loader.Handles) error { return c.getEnrolled(ctx, h) })
			}
			kind, ok := kindOf(word)
			if !ok {
				return usage("%q is no kind: listeners, clusters, routes, endpoints or enrolled", word)
			}
			return c.withStore(ctx, "get", func(s *store.Store, _ *loader.Handles) error { return c.getKind(ctx, s, kind, name) })
		}}
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

func (c *command) getKind(ctx *cli.Context, s *store.Store, kind config.Kind, name string) error {
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
}

func (c *command) getEnrolled(ctx *cli.Context, h *loader.Handles) error {
	l, err := h.Enrolled()
	if err != nil {
		return err
	}
	if l == nil {
		l = []loader.Namespace{}
	}
	return c.print(ctx, l, func(w io.Writer) error {
		t := table{head: []string{"COOKIE", "FOUND AT"}}
		for _, n := range l {
			where := strings.Join(n.Paths, " ")
			if where == "" {
				where = "-"
			}
			t.add(n.Cookie, where)
		}
		return t.print(w)
	})
}

// clusterEndpoints are the endpoints of one cluster as connects saw them.
type clusterEndpoints struct {
	Cluster   string                `json:"cluster"`
	Endpoints []store.EndpointState `json:"endpoints"`
}

func (c *command) getEndpoints(ctx *cli.Context, s *store.Store, name string) error {
	clusters, err := find(s, "get endpoints", config.Cluster, name)
	if err != nil {
		return err
	}
	data := []clusterEndpoints{}
	for _, m := range clusters {
		n := config.NameOf(m)
		l, err := s.Endpoints(n)
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted in between
		}
		if err != nil {
			return storeError("get endpoints", err)
		}
		if l == nil {
			l = []store.EndpointState{}
		}
		data = append(data, clusterEndpoints{n, l})
	}
	return c.print(ctx, data, func(w io.Writer) error { return endpointTable(data).print(w) })
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

func (c *command) delete() *cli.Command {
	return &cli.Command{Name: "delete", Usage: "remove from the maps", ArgsUsage: "listener|cluster|route NAME",
		Action: func(ctx *cli.Context) error {
			if ctx.Args().Len() != 2 {
				return usage("delete needs a kind and a name")
			}
			word, name := ctx.Args().Get(0), ctx.Args().Get(1)
			kind, ok := kindOf(word)
			if !ok {
				return usage("%q is no kind: listener, cluster or route", word)
			}
			if name == "" {
				return usage("delete needs a name")
			}
			return c.withStore(ctx, "delete", func(s *store.Store, _ *loader.Handles) error {
				found, err := find(s, "delete", kind, name)
				if err != nil {
					return err
				}
				ops := make([]store.Op, 0, len(found))
				for _, m := range found {
					ops = append(ops, store.Op{Delete: true, Message: m})
				}
				if err := s.Publish(ops); err != nil {
					return storeError("delete", err)
				}
				return c.print(ctx, map[string]any{"kind": kind.String(), "name": name, "deleted": len(ops)}, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "deleted: %s %s\n", kind, name)
					return err
				})
			})
		}}
}
