// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// showHelp is the library's hook for --help and `help`. The library's own goes
// through text/template, which calls methods by names that the linker cannot see:
// with it in the binary, every exported method of every type has to stay, a third
// of all that is linked (scripts/overlay.sh leaves it out).
func (c *command) showHelp(w io.Writer, _ string, of any) {
	if err := writeHelp(w, of); err != nil {
		fmt.Fprintf(c.stderr, "%s: print the help: %v\n", identifier, err)
	}
}

// writeHelp prints what of is and takes: an *cli.App or a *cli.Command.
func writeHelp(w io.Writer, of any) error {
	tw := tabwriter.NewWriter(w, 1, 8, 2, ' ', 0)
	switch of := of.(type) {
	case *cli.App:
		helpHead(tw, of.HelpName, of.Usage, of.HelpName+" [global options] command [command options]", of.Description)
		helpCommands(tw, of.VisibleCommands())
		helpFlags(tw, "GLOBAL OPTIONS", of.VisibleFlags())
	case *cli.Command:
		// The library gives each command one of its own, `help`.
		below := slices.DeleteFunc(of.VisibleCommands(), func(c *cli.Command) bool { return c.Name == "help" })
		helpHead(tw, of.HelpName, of.Usage, helpUsage(of, len(below) > 0), of.Description)
		helpCommands(tw, below)
		helpFlags(tw, "OPTIONS", of.VisibleFlags())
	}
	return tw.Flush()
}

func helpUsage(c *cli.Command, below bool) string {
	words := []string{c.HelpName}
	if below {
		words = append(words, "command")
	}
	if len(c.VisibleFlags()) > 0 {
		words = append(words, "[command options]")
	}
	if c.ArgsUsage != "" {
		words = append(words, c.ArgsUsage)
	}
	return strings.Join(words, " ")
}

// The writer keeps the first error, and Flush returns it.
func helpHead(w io.Writer, name, what, usage, description string) {
	fmt.Fprintf(w, "NAME:\n   %s - %s\n\nUSAGE:\n   %s\n", name, what, usage)
	if description != "" {
		fmt.Fprintf(w, "\nDESCRIPTION:\n   %s\n", strings.ReplaceAll(description, "\n", "\n   "))
	}
}

func helpCommands(w io.Writer, commands []*cli.Command) {
	if len(commands) == 0 {
		return
	}
	fmt.Fprintln(w, "\nCOMMANDS:")
	for _, c := range commands {
		fmt.Fprintf(w, "   %s\t%s\n", strings.Join(c.Names(), ", "), c.Usage)
	}
}

func helpFlags(w io.Writer, title string, flags []cli.Flag) {
	if len(flags) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	for _, f := range flags {
		fmt.Fprintf(w, "   %s\n", f) // name, tab, usage
	}
}
