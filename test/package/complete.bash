# SPDX-License-Identifier: Apache-2.0
#
# Print what bash offers behind a line, with bash-completion finding the function
# by the command's name as it does for a user.
#
# usage: bash complete.bash LINE
set -uo pipefail

line=$1
set +u
# shellcheck disable=SC1091 # of a package
. /usr/share/bash-completion/bash_completion
command=${line%% *}
_completion_loader "$command"
spec=$(complete -p "$command") || exit 1
function=${spec##*-F }
function=${function%% *}

# As readline does: split at blanks and at the characters of COMP_WORDBREAKS.
COMP_LINE=$line COMP_POINT=${#line}
mapfile -t COMP_WORDS < <(sed 's/=/\n=\n/g; s/ \+/\n/g' <<<"$line")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
# It has no effect outside of readline.
compopt() { :; }
"$function" "$command" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
