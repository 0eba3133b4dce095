# SPDX-License-Identifier: Apache-2.0
#
# Print what zsh offers behind a line: one on a pseudo terminal is typed it, and a
# tab. What compadd is given is printed, as a menu on a terminal cannot be read well.
#
# usage: zsh -f complete.zsh LINE      with SHARE
# The one on the terminal sources this too, with ASKED set.

if [[ -z ${ASKED-} ]]; then
	zmodload zsh/zpty
	export ASKED=yes
	zpty inner zsh -f -i
	zpty -w inner "source ${(q)0:A}"
	while zpty -r inner line && [[ $line != *'<<<READY>>>'* ]]; do :; done
	zpty -w -n inner "$1"$'\t'
	on=''
	while zpty -r inner line && [[ $line != *'<<<END>>>'* ]]; do
		if [[ -n $on ]]; then print -r -- "${line%%$'\r'*}"; fi
		if [[ $line == *'<<<BEGIN>>>'* ]]; then on=yes; fi
	done
	zpty -d inner
	exit
fi

PROMPT='' RPROMPT=''
fpath=($SHARE/zsh/site-functions $fpath)
autoload -U compinit
compinit -u -D
zstyle ':completion:*' list-suffixes false

compadd() {
	local -a hits
	# Such a call asks what would match, and offers nothing.
	if [[ " ${@[1,(i)(-|--)]} " == *' -'[A-Za-z]#[OAD]' '* ]]; then
		builtin compadd "$@"
		return
	fi
	builtin compadd -A hits "$@"
	offered+=($hits)
	builtin compadd "$@"
}

ask() {
	local -a offered
	_main_complete
	print
	print -r -- '<<<BEGIN>>>'
	print -rl -- $offered
	print -r -- '<<<END>>>'
	exit
}
zle -C ask complete-word ask
bindkey '^I' ask
print '<<<READY>>>'
