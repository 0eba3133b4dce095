// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/printable"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/loader"
)

// applied is what an apply did.
type applied struct {
	Kinds    []appliedKind `json:"kinds"`
	Warnings []string      `json:"warnings"`
	Notes    []string      `json:"notes"`
	Skipped  []string      `json:"skipped"`
}

type appliedKind struct {
	Kind string `json:"kind"`
	xds.Count
}

func (c *command) apply() *cli.Command {
	return &cli.Command{Name: "apply", Usage: "put configuration into the maps", ArgsUsage: "-f PATH...",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "file", Aliases: []string{"f"}, Usage: "file, directory, or - for standard input; may be repeated"},
			&cli.BoolFlag{Name: "skip-invalid", Usage: "leave invalid resources out instead of rejecting everything"},
		},
		Action: func(ctx *cli.Context) error {
			paths := ctx.StringSlice("file")
			if len(paths) == 0 {
				return usage("apply needs -f PATH")
			}
			// -f PATH... as a shell expands it.
			paths = append(paths, ctx.Args().Slice()...)
			cfg, err := c.config(ctx)
			if err != nil {
				return err
			}
			cfg.Doing("read")
			docs, err := load(ctx.Context, paths, c.stdin)
			if err != nil {
				return err
			}
			if cfg.Mode == loader.Workload {
				return c.applyWorkloads(ctx, docs)
			}
			return c.applyAds(ctx, docs)
		}}
}

// load is xds.Load, and ends with ctx: a pipe that nobody writes into ends by itself never.
func load(ctx context.Context, paths []string, stdin io.Reader) ([]xds.Document, error) {
	type loaded struct {
		docs []xds.Document
		err  error
	}
	done := make(chan loaded, 1)
	go func() {
		docs, err := xds.Load(paths, stdin)
		done <- loaded{docs, err}
	}()
	select {
	case l := <-done:
		return l.docs, l.err
	case <-ctx.Done():
		return nil, &exit.Error{Code: exit.Unexpected, Step: "read configuration", Err: loader.ErrInterrupted, Remedy: "everything is as it was before"}
	}
}

// publish is what an apply is at that may wait for another writer.
const publish = "publish, when no other writer does"

func (c *command) applyAds(ctx *cli.Context, docs []xds.Document) error {
	return c.withStore(ctx, "apply", func(s *store.Store, _ *loader.Handles) error {
		var r *xds.Result
		err := s.Update(func() (_ []store.Op, err error) {
			c.progress.at("apply: check")
			r, err = xds.Translate(docs, s, xds.Options{SkipInvalid: ctx.Bool("skip-invalid")})
			if err != nil {
				return nil, err
			}
			c.progress.at("apply: " + publish)
			return r.Ops, nil
		})
		if err != nil {
			return storeError("apply", err)
		}
		return printApplied(c, ctx, config.Kinds(), r.Counts, remarks{r.Rejected, r.Warnings, r.Notes})
	})
}

func (c *command) applyWorkloads(ctx *cli.Context, docs []xds.Document) error {
	return c.withWorkloads(ctx, func(s *workload.Store) error {
		c.progress.at("apply: " + publish)
		r, err := s.Apply(docs, ctx.Bool("skip-invalid"))
		if err != nil {
			return err
		}
		return printApplied(c, ctx, workload.Kinds(), r.Counts, remarks{r.Rejected, r.Warnings, r.Notes})
	})
}

// remarks are what an apply has to say beside its counts.
type remarks struct {
	skipped         []xds.Rejection
	warnings, notes []string
}

// printApplied tells people of warnings and the like on standard error, a program
// gets them with the data.
func printApplied[K interface {
	comparable
	fmt.Stringer
}](c *command, ctx *cli.Context, kinds []K, counts map[K]xds.Count, r remarks) error {
	a := applied{Warnings: nonNil(r.warnings), Notes: nonNil(r.notes), Skipped: []string{}, Kinds: []appliedKind{}}
	for _, s := range r.skipped {
		a.Skipped = append(a.Skipped, s.Err.Error())
	}
	for _, k := range kinds {
		a.Kinds = append(a.Kinds, appliedKind{k.String(), counts[k]})
	}
	return c.print(ctx, a, func(w io.Writer) error {
		for _, l := range []struct {
			what string
			text []string
		}{{"skipped", a.Skipped}, {"warning", a.Warnings}, {"note", a.Notes}} {
			for _, t := range l.text {
				if _, err := fmt.Fprintf(c.stderr, "%s: %s\n", l.what, printable.Line(t)); err != nil {
					return err
				}
			}
		}
		t := table{head: []string{"KIND", "UPDATED", "DELETED", "UNCHANGED"}}
		for _, k := range a.Kinds {
			t.add(k.Kind, k.Updated, k.Deleted, k.Unchanged)
		}
		return t.print(w)
	})
}
