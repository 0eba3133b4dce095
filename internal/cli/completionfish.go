// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// fishFixed finds the command among the words: fish's own helper would take the
// value of a global flag for it.
const fishFixed = `function __kmesh_node_words
    set -l words (commandline -opc)
    set -e words[1]
    set -l skip 0
    for w in $words
        if test $skip = 1
            set skip 0
        else if string match -q -- '-*' $w
            if contains -- $w $__kmesh_node_values
                set skip 1
            end
        else
            echo $w
        end
    end
end

function __kmesh_node_none
    test (count (__kmesh_node_words)) = 0
end

function __kmesh_node_in
    set -l words (__kmesh_node_words)
    set -q words[1]; and contains -- $words[1] $argv
end

function __kmesh_node_first
    set -l words (__kmesh_node_words)
    test (count $words) = 1; and contains -- $words[1] $argv
end

complete -c kmesh-node -f
`

func fishCompletion(app *cli.App) string {
	var b, values strings.Builder
	all := globals(app)
	for _, f := range globals(app) {
		b.WriteString(fishFlag("", f))
	}
	b.WriteString("complete -c kmesh-node -l help -d 'show help'\n")
	for _, c := range shown(app) {
		fmt.Fprintf(&b, "complete -c kmesh-node -n __kmesh_node_none -a %s -d %s\n", c.Name, fishQuote(c.Usage))
		for _, f := range c.Flags {
			if flagShown(f) {
				all = append(all, f)
				b.WriteString(fishFlag("-n '__kmesh_node_in "+c.Name+"' ", f))
			}
		}
		words, path := argumentsOf(c)
		switch {
		case words != nil:
			fmt.Fprintf(&b, "complete -c kmesh-node -n '__kmesh_node_first %s' -a %s\n", c.Name, fishQuote(strings.Join(words, " ")))
		case path == "COMMAND":
			fmt.Fprintf(&b, "complete -c kmesh-node -n '__kmesh_node_in %s' -a '(__fish_complete_command)'\n", c.Name)
		case path != "":
			fmt.Fprintf(&b, "complete -c kmesh-node -n '__kmesh_node_in %s' -F\n", c.Name)
		}
	}
	fmt.Fprintf(&b, "complete -c kmesh-node -n __kmesh_node_none -a help -d 'show the help of a command'\n")
	fmt.Fprintf(&b, "complete -c kmesh-node -n '__kmesh_node_first help' -a %s\n", fishQuote(strings.Join(commandNames(app), " ")))
	fmt.Fprintf(&values, "set -g __kmesh_node_values %s\n\n", strings.Join(unique(valueFlags(all)), " "))
	return "# fish completion for kmesh-node\n\n" + values.String() + fishFixed + b.String()
}

func fishFlag(when string, f cli.Flag) string {
	var b strings.Builder
	b.WriteString("complete -c kmesh-node " + when)
	for _, n := range f.Names() {
		if len(n) == 1 {
			b.WriteString("-s " + n + " ")
		} else {
			b.WriteString("-l " + n + " ")
		}
	}
	name := f.Names()[0]
	switch e := enumerations[name]; {
	case valueWord(f) == "":
	case e != nil:
		b.WriteString("-x -a " + fishQuote(strings.Join(e, " ")) + " ")
	case paths[name] == pathDir:
		b.WriteString("-x -a '(__fish_complete_directories)' ")
	case paths[name] == pathNetns:
		b.WriteString("-r -F -a '(command ls /run/netns 2>/dev/null)' ")
	case paths[name] == pathPid:
		b.WriteString("-x -a '(__fish_complete_pids)' ")
	case paths[name] == pathFile:
		b.WriteString("-r -F ")
	default:
		b.WriteString("-x ")
	}
	b.WriteString("-d " + fishQuote(f.(cli.DocGenerationFlag).GetUsage()) + "\n")
	return b.String()
}

// fishQuote is for fish, which escapes inside quotes.
func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
