// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/kmesh-net/kmesh-node/internal/config"
)

// invalid says what is wrong in a resource and where: path is built from the inside
// out, so that it costs nothing where nothing is wrong.
type invalid struct {
	path string
	text string
}

func (e *invalid) Error() string {
	if e.path == "" {
		return e.text
	}
	return e.path + ": " + e.text
}

// wrong returns an error about the field at hand.
func wrong(format string, args ...any) error {
	return &invalid{text: fmt.Sprintf(format, args...)}
}

// in puts a field's name before the path of err, which may be nil.
func in(name string, err error) error {
	var e *invalid
	if err == nil || !errors.As(err, &e) {
		return err
	}
	path := name
	if e.path != "" {
		path += "." + e.path
	}
	return &invalid{path: path, text: e.text}
}

// inItem is in for an item of a repeated field.
func inItem(name string, i int, err error) error {
	if err == nil {
		return nil
	}
	return in(fmt.Sprintf("%s[%d]", name, i), err)
}

// checkName checks the name of a resource or a reference to one.
func checkName(s string) error {
	switch {
	case s == "":
		return wrong("is empty")
	case len(s) > config.MaxName:
		return wrong("%d bytes are more than the limit of %d", len(s), config.MaxName)
	case !utf8.ValidString(s):
		return wrong("is not UTF-8")
	}
	return nil
}

// firstError returns the first of errs that is one.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
