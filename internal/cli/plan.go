// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/loader"
)

func (c *command) plan() *cli.Command {
	return &cli.Command{Name: "plan", Usage: "what up with these flags would create, update, keep and delete; changes nothing", Flags: upFlags(),
		Description: "Takes the flags of up. start is normal, restart, update or mode change; run the process id of a live run,\n" +
			"which does what is pending in place of up; build and release are those found and the next. Each of changes has\n" +
			"action (keep, create, update, migrate, rebuild, repair or delete), kind (mount, directory, record, map, program,\n" +
			"tail call, settings, link, enrolment, pod record or pin), name, why and mode. Exits 0 when a plan could be made, with changes\n" +
			"or without, and as up would where it would fail for a reason that can be seen beforehand.",
		Action: noArgs(func(ctx *cli.Context) error {
			cfg, err := c.upConfig(ctx)
			if err != nil {
				return err
			}
			p, err := loader.MakePlan(cfg)
			if err != nil {
				return err
			}
			return c.print(ctx, p, func(w io.Writer) error { return printPlan(w, p) })
		})}
}

func printPlan(w io.Writer, p *loader.Plan) error {
	head := &table{}
	head.add("mode", p.Mode)
	head.add("start", p.Start)
	head.add("release", foundNext(p.Release))
	head.add("build", foundNext(loader.FoundNext{Found: short(p.Build.Found), Next: short(p.Build.Next)}))
	if p.Run != "" {
		head.add("done by", "the reconciliation of run, pid "+p.Run+"; up changes nothing beside it")
	}
	head.add("changes", countActions(p.Changes))
	if err := head.print(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	t := &table{head: []string{"ACTION", "KIND", "MODE", "NAME", "WHY"}}
	for _, c := range p.Changes {
		mode := string(c.Mode)
		if mode == "" {
			mode = "-"
		}
		t.add(c.Action, c.Kind, mode, c.Name, c.Why)
	}
	return t.print(w)
}

// countActions counts the changes by what is done.
func countActions(l []loader.Change) string {
	n := map[string]int{}
	for _, c := range l {
		n[c.Action]++
	}
	var parts []string
	for _, a := range []string{loader.ActionCreate, loader.ActionUpdate, loader.ActionMigrate, loader.ActionRebuild,
		loader.ActionRepair, loader.ActionDelete, loader.ActionKeep} {
		if n[a] > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n[a], a))
		}
	}
	return strings.Join(parts, ", ")
}

func foundNext(v loader.FoundNext) string {
	switch v.Found {
	case "":
		return v.Next
	case v.Next:
		return v.Found + ", the same"
	}
	return v.Found + ", then " + v.Next
}

// short is enough of a build's hash for people.
func short(hash string) string { return hash[:min(len(hash), 12)] }
