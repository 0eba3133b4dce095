// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/loader"
)

func workloadNouns() []noun {
	of := func(k workload.Kind, plural string, get func(*command, *cli.Context, string) error) noun {
		return noun{loader.Workload, []string{k.String()}, plural, get,
			func(c *command, ctx *cli.Context, name string) error { return c.deleteWorkloads(ctx, k, name) }}
	}
	return []noun{
		of(workload.Service, "services", (*command).getServices),
		of(workload.Workload, "workloads", (*command).getWorkloads),
		of(workload.Policy, "policies", (*command).getPolicies),
	}
}

// rendered is a view and the message that it is of, in the JSON that a control plane's
// responses have.
type rendered[V any] struct {
	view    V
	message proto.Message
}

// MarshalJSON puts the message beside the members of the view.
func (r rendered[V]) MarshalJSON() ([]byte, error) {
	m, err := protojson.Marshal(r.message)
	if err != nil {
		return nil, err
	}
	return joinJSON(r.view, "resource", json.RawMessage(m))
}

func render[V any](l []V, message func(V) proto.Message) []rendered[V] {
	data := make([]rendered[V], 0, len(l))
	for _, v := range l {
		data = append(data, rendered[V]{v, message(v)})
	}
	return data
}

func messageOfService(v workload.ServiceView) proto.Message   { return v.Resource }
func messageOfWorkload(v workload.WorkloadView) proto.Message { return v.Resource }
func messageOfPolicy(v workload.PolicyView) proto.Message     { return v.Resource }

// named keeps what has the name, or the address; an empty name keeps all.
func named[V any](l []V, kind workload.Kind, name string, names func(V) []string) ([]V, error) {
	if name == "" {
		return l, nil
	}
	l = slices.DeleteFunc(l, func(v V) bool { return !slices.Contains(names(v), name) })
	if len(l) == 0 {
		return nil, &exit.Error{Code: exit.NotUp, Step: "get", Object: kind.String() + " " + name, Err: errNotFound}
	}
	return l, nil
}

var errNotFound = errors.New("not found")

func (c *command) getServices(ctx *cli.Context, name string) error {
	return c.withWorkloads(ctx, func(s *workload.Store) error {
		l, err := s.Services()
		if err != nil {
			return err
		}
		l, err = named(l, workload.Service, name, func(v workload.ServiceView) []string { return append(v.Addresses, v.Name) })
		if err != nil {
			return err
		}
		data := render(l, messageOfService)
		return c.print(ctx, data, func(w io.Writer) error { return serviceTable(l).print(w) })
	})
}

func (c *command) getWorkloads(ctx *cli.Context, name string) error {
	return c.withWorkloads(ctx, func(s *workload.Store) error {
		l, err := s.Workloads()
		if err != nil {
			return err
		}
		l, err = named(l, workload.Workload, name, func(v workload.WorkloadView) []string { return append(v.Addresses, v.UID) })
		if err != nil {
			return err
		}
		data := render(l, messageOfWorkload)
		return c.print(ctx, data, func(w io.Writer) error { return workloadTable(l).print(w) })
	})
}

func (c *command) getPolicies(ctx *cli.Context, name string) error {
	return c.withWorkloads(ctx, func(s *workload.Store) error {
		l, err := s.Policies()
		if err != nil {
			return err
		}
		unnamed, err := s.DeniedByNone()
		if err != nil {
			return err
		}
		l, err = named(l, workload.Policy, name, func(v workload.PolicyView) []string { return []string{v.Name} })
		if err != nil {
			return err
		}
		data := render(l, messageOfPolicy)
		return c.print(ctx, data, func(w io.Writer) error {
			t := policyTable(l)
			if name == "" {
				t.add("(no ALLOW policy matched)", "-", "deny", "-", unnamed, 0)
			}
			return t.print(w)
		})
	})
}

func (c *command) deleteWorkloads(ctx *cli.Context, kind workload.Kind, name string) error {
	return c.withWorkloads(ctx, func(s *workload.Store) error {
		if err := s.Delete(kind, name); err != nil {
			return err
		}
		return c.printDeleted(ctx, kind.String(), name, 1)
	})
}
