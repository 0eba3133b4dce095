#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Writes the file for `go build -overlay` that puts scripts/overlay/template in the
# place of the standard library's text/template (which says why).
#
# usage: overlay.sh FILE
set -eu

here=$(cd "$(dirname "$0")" && pwd)
: "${GO:=go}"
dir=$("$GO" list -f '{{.Dir}}' text/template)
{
	printf '{"Replace": {'
	for file in $("$GO" list -f '{{range .GoFiles}}{{.}} {{end}}' text/template); do
		[ "$file" = template.go ] || printf '"%s/%s": "", ' "$dir" "$file"
	done
	printf '"%s/template.go": "%s/overlay/template/template.go"}}\n' "$dir" "$here"
} >"$1"
