// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/loader"
)

func (c *command) check() *cli.Command {
	return &cli.Command{Name: "check", Usage: "is this host able to do what up with these flags asks of it",
		Description: "Takes the flags of up, for what they ask of the host. Each of findings has name, ok, detail, required (without\n" +
			"it up fails), for (what rests on it; absent: all) and, where it is not ok, remedy. With --verify, programs lists\n" +
			"each program of both modes. Exits 10 where something required is missing, 11 where the verifier rejects.",
		Flags: append(upFlags(), &cli.BoolFlag{Name: "verify", Usage: "also put every program through the verifier; attaches nothing"},
			&cli.BoolFlag{Name: "mount", Usage: "first mount bpffs and cgroup2 where they are missing; where it then fails, they go again"}),
		Action: noArgs(func(ctx *cli.Context) error {
			cfg, err := c.upConfig(ctx)
			if err != nil {
				return err
			}
			var r *loader.Report
			if verify := ctx.Bool("verify"); ctx.Bool("mount") {
				r, err = loader.CheckMounted(ctx.Context, cfg, verify)
			} else {
				r, err = loader.Check(cfg, verify)
			}
			if r == nil {
				return err
			}
			return errors.Join(c.print(ctx, r, func(w io.Writer) error { return printReport(w, r) }), err)
		})}
}

func printReport(w io.Writer, r *loader.Report) error {
	t := table{head: []string{"", "WHAT", "FOR", "FOUND", "REMEDY"}}
	for _, f := range r.Findings {
		mark := "ok"
		switch {
		case !f.OK && f.Required:
			mark = "MISSING"
		case !f.OK:
			mark = "warning"
		}
		t.add(mark, f.Name, f.For, f.Detail, f.Remedy)
	}
	if err := t.print(w); err != nil || len(r.Programs) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	p := table{head: []string{"MODE", "PROGRAM", "HOOK", "VERIFIED INSNS"}}
	for _, s := range r.Programs {
		p.add(s.Mode, s.Name, s.Hook, told(s.Verified))
	}
	return p.print(w)
}
