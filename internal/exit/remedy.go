// SPDX-License-Identifier: Apache-2.0

package exit

import (
	"errors"
	"syscall"
)

// causes say what to do about an answer of the kernel, where the one who made the error
// knows nothing better.
var causes = []struct {
	errno  syscall.Errno
	remedy string
}{
	{syscall.EPERM, "run it as root of the host (see: kmesh-node check)"},
	{syscall.EACCES, "run it as root of the host (see: kmesh-node check)"},
	{syscall.ENOMEM, "free memory, or raise the limit on it, and run it again"},
	{syscall.ENOSPC, "make room, or raise the limit that is reached, and run it again"},
	{syscall.EROFS, "make it writable, and run it again"},
	{syscall.EBUSY, "run it again"},
	{syscall.EAGAIN, "run it again"},
}

// Remedy returns what the outermost error that has a remedy says to do; where none has
// one, what the kernel's answer suggests, which the text of err does not say.
func Remedy(err error) (remedy string, unsaid bool) {
	if said := remedyIn(err); said != "" {
		return said, false
	}
	for _, c := range causes {
		if errors.Is(err, c.errno) {
			return c.remedy, true
		}
	}
	var errno syscall.Errno
	if code := Code(err); errors.As(err, &errno) && (code == NotReady || code == Load || code == Attach) {
		return "see: kmesh-node check", true
	}
	return "", false
}

func remedyIn(err error) string {
	if e, ok := err.(*Error); ok && e.remedy() != "" {
		return e.remedy()
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return remedyIn(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if said := remedyIn(err); said != "" {
				return said
			}
		}
	}
	return ""
}
