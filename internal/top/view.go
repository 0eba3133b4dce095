// SPDX-License-Identifier: Apache-2.0

package top

import (
	"fmt"
	"strings"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/printable"
)

// View is how a report is shown on a terminal.
type View struct {
	Title         string // what is shown, and of where
	Width, Height int
	Color         bool
	Order         Order
	Top           int  // the first row that is shown
	Ejects        bool // endpoints are ejected in this mode
	Denies        bool // connections are denied in this mode
}

// Sequences of a terminal.
const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// Lines other than rows: title, totals, heading, keys.
const otherLines = 4

const leastName = 12

// Rows is how many rows fit.
func (v *View) Rows() int { return max(v.Height-otherLines, 1) }

// column is one of the table. Its heading is as wide as it.
type column struct {
	head  string
	order Order
	cell  func(*Row) string
	least int // width of the terminal from which on it is shown
}

func (v *View) columns() []column {
	l := []column{
		{"  CONN/S", ByConnects, func(r *Row) string { return rate(r.Rate) }, 0},
		{"   LATENCY", ByLatency, func(r *Row) string { return took(r.Took) }, 0},
		{"  FAIL/S", ByFailures, func(r *Row) string { return rate(r.FailureRate) }, 0},
		{"  REFUSED", "", func(r *Row) string { return count(r.Refused) }, 96},
		{" TIMEOUT", "", func(r *Row) string { return count(r.Timeouts) }, 96},
		{"  ERROR", "", func(r *Row) string { return count(r.Errors) }, 96},
		{"   FAILED", "", func(r *Row) string { return count(r.Failures()) }, 0},
	}
	if v.Ejects {
		l = append(l, column{" EJECTED", ByEjected, func(r *Row) string { return fmt.Sprintf("%d/%d", r.Ejected, r.Endpoints) }, 0})
	}
	fits := l[:0]
	for _, c := range l {
		if v.Width >= c.least {
			fits = append(fits, c)
		}
	}
	return fits
}

// Lines are the lines of the screen, none wider than it; Color marks some of them.
func (v *View) Lines(r *Report) []string {
	columns := v.columns()
	name := v.Width
	for _, c := range columns {
		name -= len(c.head)
	}
	name = max(name, leastName)
	v.Top = max(min(v.Top, len(r.Services)-v.Rows()), 0)

	head := pad("SERVICE", name)
	if v.Order == ByName {
		head = pad("SERVICE*", name)
	}
	for _, c := range columns {
		h := c.head
		if c.order == v.Order && c.order != "" {
			h = h[1:] + "*"
		}
		head += h
	}
	lines := []string{v.fit(v.Title), v.fit(v.totals(r)), v.mark(bold, v.fit(head))}
	rows := r.Services[v.Top:min(v.Top+v.Rows(), len(r.Services))]
	for i := range rows {
		line := pad(printable.Columns(rows[i].Service), name)
		for _, c := range columns {
			line += fmt.Sprintf("%*s", len(c.head), c.cell(&rows[i]))
		}
		lines = append(lines, v.mark(colorOf(&rows[i]), v.fit(line)))
	}
	for len(lines) < v.Height-1 {
		lines = append(lines, "")
	}
	return append(lines, v.fit(v.keys()))
}

func (v *View) keys() string {
	ejected := ""
	if v.Ejects {
		ejected = "  e ejected"
	}
	return "q quit   sort: c connects  l latency  f failures" + ejected + "  n name   up/down"
}

func (v *View) totals(r *Report) string {
	s := fmt.Sprintf("services %d: %s connects/s", len(r.Services), rate(r.Rate))
	if r.Took > 0 {
		s += ", latency " + took(r.Took)
	}
	s += ", " + rate(r.Failures) + " failures/s"
	if v.Ejects {
		s += fmt.Sprintf(", ejected %d/%d", r.Ejected, r.Endpoints)
	}
	if v.Denies {
		s += ", " + rate(r.DeniedRate) + " denied/s to pods here"
	}
	return s
}

func colorOf(r *Row) string {
	switch {
	case r.FailureRate > 0:
		return red
	case r.Ejected > 0:
		return yellow
	}
	return ""
}

func (v *View) mark(with, line string) string {
	if !v.Color || with == "" {
		return line
	}
	return with + line + plain
}

// fit cuts a line to the screen's width.
func (v *View) fit(s string) string { return strings.TrimRight(cut(s, v.Width), " ") }

func cut(s string, width int) string {
	if len(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return s[:width-1] + "~"
}

func pad(s string, width int) string { return fmt.Sprintf("%-*s", width, cut(s, width-1)) }

func rate(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 1000:
		return fmt.Sprintf("%.1f", v)
	case v < 99_999.5:
		return fmt.Sprintf("%.0f", v)
	}
	return count(uint64(v))
}

// count is a number in at most six characters.
func count(n uint64) string {
	units := "kMGTPE"
	if n < 100_000 {
		return fmt.Sprint(n)
	}
	v := float64(n)
	for i := range units {
		if v /= 1000; v < 999.5 || i == len(units)-1 {
			if v < 99.95 {
				return fmt.Sprintf("%.1f%c", v, units[i])
			}
			return fmt.Sprintf("%.0f%c", v, units[i])
		}
	}
	return ""
}

// took is a duration in at most eight characters.
func took(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%dus", d.Microseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.2fms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}
