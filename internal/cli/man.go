// SPDX-License-Identifier: Apache-2.0

package cli

import (
	_ "embed" // the page's prose
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// manPage is the page in mdoc(7), but for what the tree of commands says better:
// a line @NAME@ stands for each such part.
//
//go:embed kmesh-node.8.in
var manPage string

// exitCodes is what scripts are told of the contract.
var exitCodes = []struct {
	code int
	what string
}{
	{0, "Done."},
	{exit.Unexpected, "Unexpected."},
	{exit.Usage, "Usage: a command, flag or value that is not known."},
	{exit.NotReady, "The host is not ready: kernel, capability, BTF, bpffs, cgroup2, admin address."},
	{exit.Load, "Open, load or the verifier."},
	{exit.Attach, "Attach."},
	{exit.Rejected, "The configuration was rejected; nothing of it was published."},
	{exit.NotUp, "Not up, or not found."},
	{exit.Locked, "Another kmesh-node holds the lock."},
}

// man prints the manual page; packages call it while they are built.
func (c *command) man() *cli.Command {
	return &cli.Command{Name: "man", Usage: "print the manual page, in mdoc", Hidden: true,
		Action: noArgs(func(ctx *cli.Context) error {
			date, err := manDate(os.Getenv("SOURCE_DATE_EPOCH"))
			if err != nil {
				return err
			}
			return writeMan(c.stdout, ctx.App, date)
		})}
}

// manDate is the day that the page bears: that of the sources where it is told,
// so that the same sources give the same page.
func manDate(epoch string) (time.Time, error) {
	if epoch == "" {
		return time.Now().UTC(), nil
	}
	s, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, usage("SOURCE_DATE_EPOCH %q is no count of seconds", epoch)
	}
	return time.Unix(s, 0).UTC(), nil
}

func writeMan(w io.Writer, app *cli.App, date time.Time) error {
	parts := map[string]string{
		"@DATE@":        ".Dd " + date.Format("January 2, 2006"),
		"@GLOBAL@":      manFlags(app.Flags),
		"@COMMANDS@":    manCommands(app),
		"@ENVIRONMENT@": manEnvironment(app),
		"@EXIT@":        manExits(),
	}
	var b strings.Builder
	for l := range strings.Lines(manPage) {
		if part, there := parts[strings.TrimSpace(l)]; there {
			l = part + "\n"
		}
		b.WriteString(l)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// shown are the commands that help lists.
func shown(app *cli.App) []*cli.Command {
	var l []*cli.Command
	for _, c := range app.Commands {
		if !c.Hidden && c.Name != "help" {
			l = append(l, c)
		}
	}
	return l
}

func manCommands(app *cli.App) string {
	var b strings.Builder
	for _, c := range shown(app) {
		fmt.Fprintf(&b, ".Ss %s\n", roffHead(strings.TrimSpace(c.Name+" "+c.ArgsUsage)))
		fmt.Fprintln(&b, roffText(sentence(c.Usage)))
		if c.Description != "" {
			fmt.Fprintln(&b, ".Bd -literal -compact")
			for l := range strings.Lines(c.Description) {
				fmt.Fprintln(&b, roff(strings.TrimRight(l, "\n")))
			}
			fmt.Fprintln(&b, ".Ed")
		}
		if f := manFlags(c.Flags); f != "" {
			fmt.Fprintln(&b, f)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// manFlags lists the flags that are not hidden; "" where there is none.
func manFlags(flags []cli.Flag) string {
	var b strings.Builder
	for _, f := range flags {
		if !flagShown(f) {
			continue
		}
		b.WriteString(".It")
		for i, name := range f.Names() {
			if i > 0 {
				b.WriteString(" ,")
			}
			b.WriteString(" Fl " + roff(strings.TrimPrefix(dashed(name), "-")))
		}
		if v := valueWord(f); v != "" {
			b.WriteString(" Ar " + strings.ReplaceAll(roff(v), "|", " | "))
		}
		b.WriteString("\n")
		doc := f.(cli.DocGenerationFlag)
		fmt.Fprintln(&b, roffText(sentence(doc.GetUsage())))
		if d := flagDefault(f); d != "" {
			fmt.Fprintf(&b, "Default: %s.\n", roff(d))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return ".Bl -tag -width Ds\n" + b.String() + ".El"
}

// manEnvironment lists each variable once with the flag that it stands for.
func manEnvironment(app *cli.App) string {
	var b strings.Builder
	seen := map[string]bool{}
	add := func(flags []cli.Flag) {
		for _, f := range flags {
			for _, v := range f.(cli.DocGenerationFlag).GetEnvVars() {
				if flagShown(f) && !seen[v] {
					seen[v] = true
					fmt.Fprintf(&b, ".It Ev %s\n.Fl %s\n", v, roff("-"+f.Names()[0]))
				}
			}
		}
	}
	add(app.Flags)
	for _, c := range shown(app) {
		add(c.Flags)
	}
	return ".Bl -tag -width Ds -compact\n" + b.String() + ".El"
}

func manExits() string {
	var b strings.Builder
	for _, e := range exitCodes {
		fmt.Fprintf(&b, ".It %d\n%s\n", e.code, roff(e.what))
	}
	return ".Bl -tag -width Ds -compact\n" + b.String() + ".El"
}

// sentence makes a usage text stand as one: with a capital and a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + strings.TrimRight(s[1:], ".") + "."
}

// roffText is a paragraph, in lines of the length that roff sources have.
func roffText(s string) string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(s) {
		if line != "" && len(line)+1+len(w) > 72 {
			lines = append(lines, roff(line))
			line = w
			continue
		}
		line = strings.TrimSpace(line + " " + w)
	}
	return strings.Join(append(lines, roff(line)), "\n")
}

// roffHead is a heading: punctuation at its end is part of it.
func roffHead(s string) string { return roff(s) + `\&` }

// roff lets s stand in a line of text or behind a macro.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
