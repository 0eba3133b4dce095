// SPDX-License-Identifier: Apache-2.0

package exit

import (
	"fmt"
	"syscall"
	"testing"
)

func TestRemedyOfWhatRanOutIsNotThatOfTheStep(t *testing.T) {
	open := func(err error) error {
		return &Error{Code: Load, Step: "open pin", Object: "/x", Err: err, Remedy: "remove it"}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{open(syscall.EACCES), "open pin: /x: permission denied; remove it"},
		{open(fmt.Errorf("open: %w", syscall.EMFILE)), "open pin: /x: open: too many open files; raise the limit of open files"},
		{&Error{Step: "up", Err: open(syscall.ENFILE), Remedy: "down"}, "up: open pin: /x: too many open files in system; raise the limit of open files"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
