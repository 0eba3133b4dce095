#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Completion as it is installed, by each shell's own machinery: what is offered
# where the cursor stands behind a line.
set -eu

# shellcheck source=test/package/lib.sh
. "${here:?}/lib.sh"
"${top:?}/scripts/install.sh" --destdir "${tmp:?}/shells" --share "$top/build/share" --zsh-dir site-functions >/dev/null
share=$tmp/shells/usr/share
# fish asks for no completion of a command that is not there.
PATH=$tmp/shells/usr/sbin:$PATH
mkdir "$tmp/files"
: >"$tmp/files/one.json"

# Each takes a line, and prints what is offered behind it, sorted.
in_bash() { XDG_DATA_DIRS=$share bash --norc --noprofile "$here/complete.bash" "$1" | LC_ALL=C sort; }
in_zsh() { SHARE=$share zsh -f "$here/complete.zsh" "$1" | LC_ALL=C sort -u; }
in_fish() {
	# shellcheck disable=SC2016 # for fish
	LINE=$1 XDG_CONFIG_HOME=$tmp/none XDG_DATA_DIRS=$share fish --no-config -c \
		'set -a fish_complete_path $XDG_DATA_DIRS/fish/vendor_completions.d; complete -C $LINE' | cut -f 1 | LC_ALL=C sort
}

# offers SHELL LINE WORD…: exactly these words.
offers() {
	shell=$1 line=$2
	shift 2
	same "$shell: '$line'" "$(printf '%s\n' "$@" | LC_ALL=C sort)" "$("in_$shell" "$line" | sed 's,/*$,,; s/ *$//')"
}

# offers_all SHELL LINE WORD…: these, and may be others.
offers_all() {
	shell=$1 line=$2
	shift 2
	"in_$shell" "$line" >"$tmp/offered"
	for word; do grep -q -x -F -e "$word" "$tmp/offered" || fail "$shell: '$line' does not offer $word: $(cat "$tmp/offered")"; done
}

commands() { "$top/build/kmesh-node" --help | sed -n '/^COMMANDS:/,/^$/s/^   \([a-z]*\).*/\1/p'; }

words_and_flags() {
	shell=$1
	# shellcheck disable=SC2046 # words
	offers "$shell" 'kmesh-node ' $(commands)
	offers "$shell" 'kmesh-node --mode ads un' unenroll
	offers "$shell" 'kmesh-node --mode ' ads workload
	offers "$shell" 'kmesh-node up --xdp-mode ' generic native
	offers "$shell" 'kmesh-node -o json get cl' clusters
	offers "$shell" 'kmesh-node get services -o ' table json yaml
	offers_all "$shell" 'kmesh-node up --' --manage --mode --waypoint-port --output
	offers "$shell" 'kmesh-node check --ver' --verify
	offers "$shell" 'kmesh-node delete zz'
	offers "$shell" 'kmesh-node up --node-name '
}

files() {
	shell=$1
	cd "$tmp"
	# zsh offers the part behind the directory.
	at=files/
	if [ "$shell" = zsh ]; then at=''; fi
	offers "$shell" 'kmesh-node apply -f files/' "${at}one.json"
	offers "$shell" 'kmesh-node up --bpf-fs-path fi' files
	offers "$shell" 'kmesh-node enroll --netns ./files/o' "${at:+./}${at}one.json"
	offers_all "$shell" 'kmesh-node enroll --pid ' $$
}

bash_completes_words_and_flags() {
	words_and_flags bash
	offers bash 'kmesh-node --mode=a' ads
}
bash_completes_files() { files bash; }
zsh_completes_words_and_flags() { words_and_flags zsh; }
zsh_completes_files() { files zsh; }
fish_completes_words_and_flags() {
	words_and_flags fish
	offers fish 'kmesh-node --mode=a' --mode=ads
}
fish_completes_files() { files fish; }

run_tests bash_completes_words_and_flags bash_completes_files zsh_completes_words_and_flags zsh_completes_files \
	fish_completes_words_and_flags fish_completes_files
