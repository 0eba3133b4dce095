// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of kmesh-node: one file for each group of
// commands, over the loader, the store and the translation of configuration.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/printable"
	"github.com/kmesh-net/kmesh-node/loader"
)

// command is what the actions share.
type command struct {
	objects        fs.FS
	stdin          io.Reader
	stdout, stderr io.Writer
	progress       *progress // nil: standard error is no terminal
}

// NewCommand returns kmesh-node's commands over the BPF objects, NAME.bpf.o in
// the root of objects.
func NewCommand(objects fs.FS) *cli.App {
	return newApp(&command{objects: objects, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
}

// Execute runs app with args, the program's name first, prints what went wrong,
// one line for each error, and returns the exit code of the contract. SIGINT and SIGTERM
// end what is under way; a second one ends the process as kill -9 would.
func Execute(app *cli.App, args []string) int {
	collectLate()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := app.RunContext(ctx, permute(app, args))
	var unknown cli.ExitCoder // the library's own, of `help WORD`
	if errors.As(err, &unknown) {
		err = usage("%w", err)
	}
	if err != nil {
		printError(app.ErrWriter, err)
	}
	toReader.flush(outboxPatience)
	return exit.Code(err)
}

// collectLate suits a command that ends soon: collecting garbage would take the
// CPUs that the verifier works on.
func collectLate() { debug.SetGCPercent(400) }

// collectOften trades time of the CPUs for memory.
func collectOften() { debug.SetGCPercent(50) }

// collectAsUsual is for a command that stays.
func collectAsUsual() { debug.SetGCPercent(100) }

func newApp(c *command) *cli.App {
	cli.HelpPrinter = c.showHelp
	c.progress = newProgress(c.stderr)
	app := &cli.App{
		Name:                      "kmesh-node",
		Usage:                     "brings the Kmesh eBPF data plane up on this host",
		Flags:                     withEnv(globalFlags(true)),
		Writer:                    c.stdout,
		ErrWriter:                 c.stderr,
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		// Errors are printed once, by Execute.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   usageError,
		Action:         noCommand,
	}
	for _, cmd := range []*cli.Command{
		c.up(), c.run(), c.down(), c.status(), c.check(), c.plan(),
		c.apply(), c.get(), c.delete(), c.enroll(), c.unenroll(),
		c.events(), c.top(), c.env(), c.exec(), c.version(),
		c.cni(), c.man(), c.completion(),
	} {
		cmd.OnUsageError = usageError
		c.withProgress(cmd)
		cmd.Flags = append(withEnv(cmd.Flags), globalFlags(false)...)
		app.Commands = append(app.Commands, cmd)
	}
	return app
}

// noCommand answers a first word that is no command.
func noCommand(ctx *cli.Context) error {
	if w := ctx.Args().First(); w != "" {
		return usage("%q is not a command", w)
	}
	cli.HelpPrinter(ctx.App.ErrWriter, "", ctx.App)
	return usage("no command")
}

func usageError(_ *cli.Context, err error, _ bool) error { return usage("%w", err) }

func usage(format string, args ...any) error {
	return &exit.Error{Code: exit.Usage, Step: "usage", Err: fmt.Errorf(format, args...), Remedy: "see: kmesh-node help"}
}

// noArgs refuses stray arguments.
func noArgs(do cli.ActionFunc) cli.ActionFunc {
	return func(ctx *cli.Context) error {
		if ctx.Args().Present() {
			return usage("%s takes no argument %q", ctx.Command.Name, ctx.Args().First())
		}
		return do(ctx)
	}
}

// printError prints each of err's joined errors on a line of its own, and the end
// of the verifier's log behind it. In the journal each line is an entry with the parts of
// the error as fields.
func printError(w io.Writer, err error) {
	show := func(prefix, line string) { fmt.Fprintln(w, prefix+line) }
	if inJournal(w) {
		fields := errorFields(err)
		show = func(_, line string) { toJournal(w, line, journal.PriErr, maps.Clone(fields)) }
	}
	text := strings.TrimSpace(err.Error())
	if remedy, unsaid := exit.Remedy(err); unsaid {
		text += "; " + remedy
	}
	for _, l := range strings.Split(text, "\n") {
		if l = strings.TrimSpace(l); l != "" {
			show(identifier+": ", printable.Line(l))
		}
	}
	var v *loader.VerifierError
	if errors.As(err, &v) {
		for _, l := range v.Tail {
			show("  | ", l)
		}
	}
}
