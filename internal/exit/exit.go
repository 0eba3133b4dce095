// SPDX-License-Identifier: Apache-2.0

// Package exit holds the exit codes of kmesh-node and the one form of its errors.
package exit

import (
	"errors"
	"strings"
	"syscall"

	"github.com/kmesh-net/kmesh-node/internal/printable"
)

// Exit codes, a contract with units and scripts.
const (
	Unexpected = 1
	Usage      = 2
	NotReady   = 10 // the host lacks something
	Load       = 11 // open, verifier, map creation
	Attach     = 12
	Rejected   = 13 // configuration
	NotUp      = 14 // not up, or not found
	Locked     = 15 // another kmesh-node holds the lock
)

// Error names the step that failed, the object it failed on and what to do about
// it; it prints as one line. Any part but Err may be empty.
type Error struct {
	Code   int
	Step   string
	Object string
	Err    error
	Remedy string
}

func (e *Error) Error() string {
	var b strings.Builder
	for _, s := range []string{e.Step, printable.Line(e.Object)} {
		if s != "" {
			b.WriteString(s)
			b.WriteString(": ")
		}
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	}
	if r := e.remedy(); r != "" {
		b.WriteString("; ")
		b.WriteString(r)
	}
	return b.String()
}

// remedy is Remedy, but where descriptors ran out: that can happen at every step, and
// to follow what is the remedy of the step else, to remove something, would do harm.
func (e *Error) remedy() string {
	var inner *Error
	switch {
	case !errors.Is(e.Err, syscall.EMFILE) && !errors.Is(e.Err, syscall.ENFILE):
		return e.Remedy
	case errors.As(e.Err, &inner):
		return "" // it has told
	}
	return "raise the limit of open files"
}

func (e *Error) Unwrap() error { return e.Err }

// Code returns the exit code that err asks for: 0 for nil, that of the outermost
// *Error in its tree, else Unexpected.
func Code(err error) int {
	if err == nil {
		return 0
	}
	var e *Error
	if errors.As(err, &e) && e.Code != 0 {
		return e.Code
	}
	return Unexpected
}
