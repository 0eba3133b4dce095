// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func zshCompletion(app *cli.App) string {
	var b strings.Builder
	b.WriteString("#compdef kmesh-node\n\n")
	// zsh's own _pids knows those of one's terminal, not a pod's.
	b.WriteString("_kmesh_node_pids() { compadd \"$@\" -- /proc/<->(N:t) }\n\n")
	b.WriteString("_kmesh_node() {\n\tlocal context state state_descr line\n\tlocal -a commands\n\ttypeset -A opt_args\n\tcommands=(\n")
	for _, c := range shown(app) {
		fmt.Fprintf(&b, "\t\t%s\n", quote(c.Name+":"+zshText(c.Usage)))
	}
	b.WriteString("\t\t'help:show the help of a command'\n\t)\n\t_arguments -C \\\n")
	b.WriteString(zshFlags(globals(app)))
	b.WriteString("\t\t'1:command:->command' '*::argument:->argument'\n\tcase $state in\n\tcommand) _describe command commands ;;\n\targument)\n\t\tcase $words[1] in\n")
	for _, c := range shown(app) {
		fmt.Fprintf(&b, "\t\t%s)\n\t\t\t_arguments \\\n%s\t\t\t\t%s\n\t\t\t;;\n", c.Name,
			strings.ReplaceAll(zshFlags(visibleFlags(app, c)), "\t\t'", "\t\t\t\t'"), zshArguments(c))
	}
	b.WriteString("\t\thelp) _describe command commands ;;\n\t\tesac\n\t\t;;\n\tesac\n}\n\n_kmesh_node \"$@\"\n")
	return b.String()
}

// zshFlags has a line for each name of each flag.
func zshFlags(flags []cli.Flag) string {
	var b strings.Builder
	for _, f := range flags {
		all := dashedNames(f)
		again := "(" + strings.Join(all, " ") + ")"
		if _, many := f.(*cli.StringSliceFlag); many {
			again = "*"
		}
		for _, n := range all {
			if word := valueWord(f); word == "" {
				fmt.Fprintf(&b, "\t\t%s \\\n", quote(again+n+zshUsage(f)))
			} else {
				form := n + "+"
				if strings.HasPrefix(n, "--") {
					form = n + "="
				}
				fmt.Fprintf(&b, "\t\t%s \\\n", quote(again+form+zshUsage(f)+":"+strings.ToLower(f.Names()[0])+":"+zshAction(f)))
			}
		}
	}
	fmt.Fprintf(&b, "\t\t%s \\\n", quote("(- *)--help[show help]"))
	return b.String()
}

func zshUsage(f cli.Flag) string { return "[" + zshText(f.(cli.DocGenerationFlag).GetUsage()) + "]" }

func zshAction(f cli.Flag) string {
	name := f.Names()[0]
	if e := enumerations[name]; e != nil {
		return "(" + strings.Join(e, " ") + ")"
	}
	if p := paths[name]; p != "" {
		return zshPath(p)
	}
	return " "
}

func zshPath(path string) string {
	switch path {
	case pathFile:
		return "_files"
	case pathDir:
		return "_files -/"
	case pathNetns:
		return "_files -W /run/netns"
	case pathPid:
		return "_kmesh_node_pids"
	default:
		return "_command_names -e"
	}
}

func zshArguments(c *cli.Command) string {
	words, path := argumentsOf(c)
	switch {
	case words != nil:
		return quote("1:kind:("+strings.Join(words, " ")+")") + " '2:name: '"
	case path != "":
		return quote("*:" + strings.ToLower(path) + ":" + zshPath(path))
	default:
		return "':: :'"
	}
}

// zshText escapes what has a meaning in a specification.
func zshText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(s)
}
