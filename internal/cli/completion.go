// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// shells are those that there is a completion for.
var shells = []string{"bash", "zsh", "fish"}

// completion prints what a shell completes kmesh-node with, made of the commands,
// so that it needs no kmesh-node while it completes.
func (c *command) completion() *cli.Command {
	return &cli.Command{Name: "completion", Usage: "print the completion for a shell", ArgsUsage: "bash|zsh|fish", Hidden: true,
		Action: func(ctx *cli.Context) error {
			if ctx.Args().Len() != 1 {
				return usage("completion needs one shell: %s", strings.Join(shells, ", "))
			}
			var text string
			switch s := ctx.Args().First(); s {
			case "bash":
				text = bashCompletion(ctx.App)
			case "zsh":
				text = zshCompletion(ctx.App)
			case "fish":
				text = fishCompletion(ctx.App)
			default:
				return usage("completion %q: it is %s", s, strings.Join(shells, ", "))
			}
			if _, err := io.WriteString(c.stdout, text); err != nil {
				return fmt.Errorf("print: %w", err)
			}
			return nil
		}}
}

// dashedNames are a flag's names as they are typed.
func dashedNames(f cli.Flag) []string {
	var l []string
	for _, n := range f.Names() {
		l = append(l, dashed(n))
	}
	return l
}

// valueFlags are all names of the flags that the word behind is the value of.
func valueFlags(flags []cli.Flag) []string {
	var l []string
	for _, f := range flags {
		if valueWord(f) != "" {
			l = append(l, dashedNames(f)...)
		}
	}
	return l
}

// commandNames are those that are completed.
func commandNames(app *cli.App) []string {
	var l []string
	for _, c := range shown(app) {
		l = append(l, c.Name)
	}
	return append(l, "help")
}

// quote makes one word of s for bash and zsh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
