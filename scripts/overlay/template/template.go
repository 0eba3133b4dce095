// SPDX-License-Identifier: Apache-2.0

// Package template stands in the released binary for text/template, whose calls of
// methods by name keep the linker from dropping any exported method: 8 MB. It has
// what github.com/urfave/cli links to and never calls, because kmesh-node prints
// its help itself. See scripts/overlay.sh.
package template

import (
	"errors"
	"io"
)

// ErrLeftOut is what a template gives in this binary.
var ErrLeftOut = errors.New("text/template is left out of this binary: build without scripts/overlay.sh")

// FuncMap is the type of that name in text/template.
type FuncMap map[string]any

// Template is a template that nothing can be done with.
type Template struct{}

// New returns one.
func New(string) *Template { return &Template{} }

// New returns one.
func (t *Template) New(string) *Template { return t }

// Funcs takes functions for nothing.
func (t *Template) Funcs(FuncMap) *Template { return t }

// Parse fails with ErrLeftOut.
func (t *Template) Parse(string) (*Template, error) { return nil, ErrLeftOut }

// Execute fails with ErrLeftOut.
func (t *Template) Execute(io.Writer, any) error { return ErrLeftOut }

// ExecuteTemplate fails with ErrLeftOut.
func (t *Template) ExecuteTemplate(io.Writer, string, any) error { return ErrLeftOut }

// Must returns t, and panics where there is an error.
func Must(t *Template, err error) *Template {
	if err != nil {
		panic(err)
	}
	return t
}
