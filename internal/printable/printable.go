// SPDX-License-Identifier: Apache-2.0

// Package printable makes text of others harmless to a terminal. Data for programs is
// printed as it is.
package printable

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line keeps s on its line: a question mark stands for each character that cannot be
// seen, as controls of terminals and of the direction of text are.
func Line(s string) string {
	return keep(s, func(r rune) bool { return unicode.IsPrint(r) && r != utf8.RuneError })
}

// Clip is Line of no more than that many bytes of s.
func Clip(s string, most int) string {
	if s = Line(s); len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Columns is Line of a text that is one column wide for each byte.
func Columns(s string) string {
	return keep(s, func(r rune) bool { return r >= ' ' && r <= '~' })
}

func keep(s string, is func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if is(r) {
			return r
		}
		return '?'
	}, s)
}
