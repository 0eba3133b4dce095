// SPDX-License-Identifier: Apache-2.0

package exit

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
)

func TestRemedyOfTheKernelsAnswerWhereNoneIsSaid(t *testing.T) {
	said := &Error{Code: Load, Err: syscall.ENOMEM, Remedy: "do this"}
	for _, c := range []struct {
		err    error
		remedy string
		unsaid bool
	}{
		{said, "do this", false},
		{fmt.Errorf("x: %w", said), "do this", false},
		{errors.Join(errors.New("x"), &Error{Code: Attach, Err: said}), "do this", false},
		{&Error{Code: Load, Err: fmt.Errorf("x: %w", syscall.ENOMEM)}, "free memory, or raise the limit on it, and run it again", true},
		{&Error{Code: Attach, Err: syscall.EINVAL}, "see: kmesh-node check", true},
		{&Error{Code: NotUp, Err: syscall.ENOENT}, "", false},
		{errors.New("x"), "", false},
		{nil, "", false},
	} {
		if got, unsaid := Remedy(c.err); got != c.remedy || unsaid != c.unsaid {
			t.Errorf("%v: %q, %v", c.err, got, unsaid)
		}
	}
}
