// SPDX-License-Identifier: Apache-2.0

package printable

import "testing"

func TestANameDoesNothingToTheTerminal(t *testing.T) {
	for _, c := range []struct{ name, line, columns string }{
		{"ns/a.svc", "ns/a.svc", "ns/a.svc"},
		{"a\x1b[2Jb\u009b2mc\xff\n\td\x7f", "a?[2Jb?2mc???d?", "a?[2Jb?2mc???d?"},
		{"gnp\u202e.exe\u200b", "gnp?.exe?", "gnp?.exe?"},
		{"é 世…", "é 世…", "? ??"},
	} {
		if got := Line(c.name); got != c.line {
			t.Errorf("%q is the line %q, want %q", c.name, got, c.line)
		}
		if got := Columns(c.name); got != c.columns {
			t.Errorf("%q has the columns %q, want %q", c.name, got, c.columns)
		}
	}
}
