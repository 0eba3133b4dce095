// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// A row is one figure beside what it is held against.
type row struct {
	Mode      string   `json:"mode"`
	Figure    string   `json:"figure"`
	Unit      string   `json:"unit"`
	Ours      *float64 `json:"ours,omitempty"`      // absent: not measured
	Reference *float64 `json:"reference,omitempty"` // the peer's, from its own measurement
	Floor     *float64 `json:"floor,omitempty"`     // the least possible, from this run
	Target    *float64 `json:"target,omitempty"`
	AtLeast   bool     `json:"at_least,omitempty"` // the target is a minimum
	Ratio     *float64 `json:"ratio,omitempty"`    // ours to the reference, to the floor where there is none
	Met       *bool    `json:"met,omitempty"`
	Low       *float64 `json:"p25,omitempty"` // quartiles of the rounds behind ours
	High      *float64 `json:"p75,omitempty"`
	Note      string   `json:"note,omitempty"`
	Error     string   `json:"error,omitempty"`
}

func some(v float64) *float64 { return &v }

// from sets ours to the median of the values, with their quartiles.
func (r row) from(values []float64) row {
	r.Ours = some(median(values))
	if len(values) > 3 {
		r.Low, r.High = some(quantile(values, 0.25)), some(quantile(values, 0.75))
	}
	return r
}

// judge fills in what follows from the other fields.
func (r row) judge() row {
	if r.Ours == nil {
		return r
	}
	base := r.Reference
	if base == nil {
		base = r.Floor
	}
	if base != nil && *base != 0 {
		r.Ratio = some(*r.Ours / *base)
	}
	if r.Target != nil {
		met := *r.Ours <= *r.Target
		if r.AtLeast {
			met = *r.Ours >= *r.Target
		}
		r.Met = &met
	}
	return r
}

// A report collects rows and prints them; a figure that fails is a row too.
type report struct {
	mode    string   // of the rows that come next
	Machine string   `json:"machine"`
	Notes   []string `json:"notes,omitempty"`
	Rows    []row    `json:"rows"`
}

func (t *report) add(rows ...row) {
	for _, r := range rows {
		r.Mode = t.mode
		t.Rows = append(t.Rows, r.judge())
	}
}

func (t *report) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

// failed tells whether any figure could not be measured.
func (t *report) failed() bool {
	for _, r := range t.Rows {
		if r.Error != "" {
			return true
		}
	}
	return false
}

func number3(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v == float64(int64(*v)) || *v >= 1000 || *v <= -1000:
		return grouped(int64(*v))
	case *v >= 100:
		return fmt.Sprintf("%.0f", *v)
	case *v >= 10:
		return fmt.Sprintf("%.1f", *v)
	}
	return fmt.Sprintf("%.2f", *v)
}

// grouped prints a number with its thousands apart.
func grouped(v int64) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// print prints a table for each mode, then what is to be said about the figures.
func (t *report) print(w io.Writer) error {
	for _, mode := range []string{modeAds, modeWorkload} {
		if !slices.ContainsFunc(t.Rows, func(r row) bool { return r.Mode == mode }) {
			continue
		}
		fmt.Fprintf(w, "%s mode\n", mode)
		if err := t.printTable(w, mode); err != nil {
			return err
		}
		fmt.Fprintln(w)
		for _, r := range t.Rows {
			if r.Mode == mode {
				r.printRemarks(w)
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "RATIO is ours to the reference, or to the floor where there is no reference.")
	for _, n := range t.Notes {
		fmt.Fprintln(w, " ", n)
	}
	return nil
}

func (t *report) printTable(w io.Writer, mode string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "FIGURE\tOURS\tUNIT\tREFERENCE\tFLOOR\tTARGET\tRATIO\tMET")
	for _, r := range t.Rows {
		if r.Mode != mode {
			continue
		}
		target, met := "-", "-"
		if r.Target != nil {
			target = "<= " + number3(r.Target)
			if r.AtLeast {
				target = ">= " + number3(r.Target)
			}
		}
		if r.Met != nil {
			met = map[bool]string{true: "yes", false: "NO"}[*r.Met]
		}
		if r.Error != "" {
			met = "FAILED"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Figure, number3(r.Ours), r.Unit,
			number3(r.Reference), number3(r.Floor), target, number3(r.Ratio), met)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

func (r row) printRemarks(w io.Writer) {
	if r.Low != nil {
		fmt.Fprintf(w, "  %s: quartiles %s .. %s %s\n", r.Figure, number3(r.Low), number3(r.High), r.Unit)
	}
	if r.Note != "" {
		fmt.Fprintf(w, "  %s: %s\n", r.Figure, r.Note)
	}
	if r.Error != "" {
		fmt.Fprintf(w, "  %s: FAILED: %s\n", r.Figure, r.Error)
	}
}

func (t *report) writeJSON(path string) error {
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
