// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/printable"
	"github.com/kmesh-net/kmesh-node/loader"
)

// noun is a word for what get shows and delete removes.
type noun struct {
	mode   loader.Mode // "": both
	words  []string    // singular; the first one is what people are told
	plural string
	get    func(c *command, ctx *cli.Context, name string) error
	delete func(c *command, ctx *cli.Context, name string) error // nil: it cannot be deleted
}

// nouns is the table of all of them.
func nouns() []noun {
	return slices.Concat(adsNouns(), workloadNouns(), []noun{{words: []string{"enrolled"}, plural: "enrolled", get: (*command).getEnrolled}})
}

// kindsOf lists the words of a mode for people; of both modes where it is "".
func kindsOf(mode loader.Mode, word func(noun) string) string {
	var l []string
	for _, n := range nouns() {
		if w := word(n); w != "" && (mode == "" || n.mode == "" || n.mode == mode) {
			l = append(l, w)
		}
	}
	if len(l) == 1 {
		return l[0]
	}
	return strings.Join(l[:len(l)-1], ", ") + " or " + l[len(l)-1]
}

func toGet(n noun) string { return n.plural }

func toDelete(n noun) string {
	if n.delete == nil {
		return ""
	}
	return n.words[0]
}

// nounOf reads a word, singular or plural, in the mode that the command is for.
func nounOf(mode loader.Mode, word string, kinds func(noun) string) (noun, error) {
	lower := strings.ToLower(word)
	for _, n := range nouns() {
		if kinds(n) == "" || lower != n.plural && !slices.Contains(n.words, strings.TrimSuffix(lower, "s")) {
			continue
		}
		if n.mode != "" && n.mode != mode {
			return noun{}, usage("%s are of mode %s, and this is mode %s: use --mode %s", n.plural, n.mode, mode, n.mode)
		}
		return n, nil
	}
	return noun{}, usage("%q is no kind: %s", word, kindsOf(mode, kinds))
}

// describe is the part of a command's help that says what KIND is.
func describe(kinds func(noun) string) string {
	return "KIND is one of\n" + " - " + kindsOf(loader.Ads, kinds) + " (ads mode)\n" +
		" - " + kindsOf(loader.Workload, kinds) + " (workload mode)"
}

func (c *command) get() *cli.Command {
	return &cli.Command{Name: "get", Usage: "read back from the kernel's maps", ArgsUsage: "KIND [NAME]",
		Description: describe(toGet),
		Action: func(ctx *cli.Context) error {
			cfg, err := c.config(ctx)
			if err != nil {
				return err
			}
			word, name := ctx.Args().Get(0), ctx.Args().Get(1)
			if word == "" {
				return usage("get needs a kind: %s", kindsOf(cfg.Mode, toGet))
			}
			if ctx.Args().Len() > 2 {
				return usage("get takes one name, not %q too", ctx.Args().Get(2))
			}
			n, err := nounOf(cfg.Mode, word, toGet)
			if err != nil {
				return err
			}
			return n.get(c, ctx, name)
		}}
}

func (c *command) delete() *cli.Command {
	return &cli.Command{Name: "delete", Usage: "remove from the maps", ArgsUsage: "KIND NAME",
		Description: describe(toDelete),
		Action: func(ctx *cli.Context) error {
			cfg, err := c.config(ctx)
			if err != nil {
				return err
			}
			if ctx.Args().Len() != 2 {
				return usage("delete needs a kind and a name")
			}
			n, err := nounOf(cfg.Mode, ctx.Args().Get(0), toDelete)
			if err != nil {
				return err
			}
			name := ctx.Args().Get(1)
			if name == "" {
				return usage("delete needs a name")
			}
			return n.delete(c, ctx, name)
		}}
}

// printDeleted says what a delete removed.
func (c *command) printDeleted(ctx *cli.Context, kind, name string, n int) error {
	return c.print(ctx, map[string]any{"kind": kind, "name": name, "deleted": n}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "deleted: %s %s\n", kind, printable.Line(name))
		return err
	})
}

func (c *command) getEnrolled(ctx *cli.Context, name string) error {
	if name != "" {
		return usage("get enrolled takes no name")
	}
	return c.withHandles(ctx, func(cfg *loader.Config, h *loader.Handles) error {
		l, err := h.Enrolled()
		if err != nil {
			return err
		}
		return c.print(ctx, nonNil(l), func(w io.Writer) error { return enrolledTable(cfg.Mode, l).print(w) })
	})
}

func enrolledTable(mode loader.Mode, l []loader.Namespace) *table {
	t := &table{head: []string{"COOKIE", "FOUND AT"}}
	if mode == loader.Workload {
		t.head = append(t.head, "ADDRESSES", "WAYPOINT")
	}
	for _, n := range l {
		row := []any{n.Cookie, orDash(strings.Join(n.Paths, " "))}
		if mode == loader.Workload {
			words := make([]string, len(n.Addresses))
			for i, a := range n.Addresses {
				words[i] = a.String()
			}
			yes := "-"
			if n.Waypoint {
				yes = "yes"
			}
			row = append(row, few(words), yes)
		}
		t.add(row...)
	}
	return t
}
