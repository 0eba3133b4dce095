// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// bashFixed is what does not depend on the commands. It reads the words itself,
// as bash splits them at "=", and needs nothing of bash-completion.
const bashFixed = `
_kmesh_node_command() {
	local i
	command='' given=0
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		=) ((i++)) ;;
		-*) if [[ $values == *" ${COMP_WORDS[i]} "* && ${COMP_WORDS[i + 1]-} != = ]]; then ((i++)); fi ;;
		*)
			if [[ -z $command ]]; then
				command=${COMP_WORDS[i]}
			else
				((given++))
			fi
			;;
		esac
	done
}

_kmesh_node_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }

_kmesh_node_path() {
	case $1 in
	FILE)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	DIR)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		;;
	NETNS)
		if [[ $cur == */* ]]; then
			_kmesh_node_path FILE
		else
			mapfile -t COMPREPLY < <(cd /run/netns 2>/dev/null && compgen -f -- "$cur")
		fi
		;;
	PID) _kmesh_node_words "$(cd /proc && echo [0-9]*)" ;;
	COMMAND) mapfile -t COMPREPLY < <(compgen -c -- "$cur") ;;
	esac
}

_kmesh_node() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command given
	if [[ $cur == = ]]; then
		cur=''
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	COMPREPLY=()
	_kmesh_node_command
	if _kmesh_node_value "$prev"; then return; fi
	if [[ $cur == -* ]]; then
		_kmesh_node_flags
	elif [[ -z $command ]]; then
		_kmesh_node_words "$commands"
	else
		_kmesh_node_argument
	fi
} && complete -F _kmesh_node kmesh-node
`

func bashCompletion(app *cli.App) string {
	var b, flags, value, argument strings.Builder
	all := globals(app)
	fmt.Fprintf(&flags, "\t'') _kmesh_node_words %s ;;\n", quote(bashNames(globals(app))))
	for _, c := range shown(app) {
		all = append(all, visibleFlags(app, c)...)
		fmt.Fprintf(&flags, "\t%s) _kmesh_node_words %s ;;\n", c.Name, quote(bashNames(visibleFlags(app, c))))
		words, path := argumentsOf(c)
		switch {
		case words != nil:
			fmt.Fprintf(&argument, "\t%s) [[ $given -gt 0 ]] || _kmesh_node_words %s ;;\n", c.Name, quote(strings.Join(words, " ")))
		case path != "":
			fmt.Fprintf(&argument, "\t%s) _kmesh_node_path %s ;;\n", c.Name, path)
		}
	}
	seen := map[string]bool{}
	for _, f := range all {
		names := strings.Join(dashedNames(f), "|")
		word := valueWord(f)
		if seen[names] || word == "" {
			continue
		}
		seen[names] = true
		do := ":"
		if e := enumerations[f.Names()[0]]; e != nil {
			do = "_kmesh_node_words " + quote(strings.Join(e, " "))
		} else if paths[f.Names()[0]] != "" {
			do = "_kmesh_node_path " + word
		}
		fmt.Fprintf(&value, "\t%s) %s ;;\n", names, do)
	}
	b.WriteString("# bash completion for kmesh-node                          -*- shell-script -*-\n\n")
	b.WriteString("_kmesh_node_value() {\n\tcase $1 in\n" + value.String() + "\t*) return 1 ;;\n\tesac\n}\n\n")
	b.WriteString("_kmesh_node_flags() {\n\tcase $command in\n" + flags.String() + "\tesac\n}\n\n")
	b.WriteString("_kmesh_node_argument() {\n\tcase $command in\n" + argument.String() +
		"\thelp) _kmesh_node_words \"$commands\" ;;\n\tesac\n}\n")
	fixed := strings.Replace(bashFixed, "local cur=", fmt.Sprintf("local commands=%s values=%s\n\tlocal cur=",
		quote(strings.Join(commandNames(app), " ")), quote(" "+strings.Join(unique(valueFlags(all)), " ")+" ")), 1)
	return b.String() + fixed
}

// bashNames are the flags' long names, which tell more.
func bashNames(flags []cli.Flag) string {
	var l []string
	for _, f := range flags {
		l = append(l, dashed(f.Names()[0]))
	}
	return strings.Join(append(l, "--help"), " ")
}

// unique keeps the first of each word.
func unique(l []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range l {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
