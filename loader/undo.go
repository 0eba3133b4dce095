// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
)

// undo is what has to be done to leave everything as it was found, last step
// first. The zero value is ready for use.
type undo struct{ steps []undoStep }

type undoStep struct {
	what string // "unpin /sys/fs/bpf/...", for the error
	do   func() error
}

// push records how to take back what was just done. It is called once the step
// has had its effect, and before anything else is done.
func (u *undo) push(what string, do func() error) {
	u.steps = append(u.steps, undoStep{what, do})
}

// unwind takes everything back, attempts every step, and joins their errors.
func (u *undo) unwind() error { return u.unwindTo(0) }

// unwindTo is unwind for all but the first n steps.
func (u *undo) unwindTo(n int) error {
	var errs []error
	for i := len(u.steps) - 1; i >= n; i-- {
		if err := u.steps[i].do(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", u.steps[i].what, err))
		}
	}
	u.steps = u.steps[:n]
	return errors.Join(errs...)
}
