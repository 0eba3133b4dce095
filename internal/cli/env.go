// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os/exec"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/loader"
)

func (c *command) env() *cli.Command {
	return &cli.Command{Name: "env", Usage: "print the hand-off: the variables that name the store's maps",
		Action: noArgs(func(ctx *cli.Context) error {
			return c.withHandles(ctx, func(_ *loader.Config, h *loader.Handles) error {
				vars, err := h.Variables(false)
				if err != nil {
					return err
				}
				data := map[string]string{}
				for _, v := range vars {
					data[v.Name] = v.Value
				}
				return c.print(ctx, data, func(w io.Writer) error {
					for _, v := range vars {
						if _, err := fmt.Fprintf(w, "%s=%s\n", v.Name, v.Value); err != nil {
							return err
						}
					}
					return nil
				})
			})
		})}
}

func (c *command) exec() *cli.Command {
	return &cli.Command{Name: "exec", Usage: "run a command with the hand-off and with the descriptors open", ArgsUsage: "-- CMD [ARG...]",
		Action: func(ctx *cli.Context) error {
			argv := ctx.Args().Slice()
			if len(argv) == 0 {
				return usage("exec needs a command")
			}
			path, err := exec.LookPath(argv[0])
			if err != nil {
				return &exit.Error{Code: exit.Usage, Step: "exec", Object: argv[0], Err: err, Remedy: "name a program that is there"}
			}
			return c.withHandles(ctx, func(_ *loader.Config, h *loader.Handles) error {
				toReader.flush(outboxPatience)
				return h.Exec(path, argv)
			})
		}}
}
