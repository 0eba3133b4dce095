// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/config"
)

var (
	// ErrNotFound says that the store holds no such resource.
	ErrNotFound = config.ErrNotFound
	// ErrNoSpace says that a limit was met; the message names it. Nothing has
	// changed.
	ErrNoSpace = errors.New("no space")
	// ErrLocked says that another process kept the store's lock for too long.
	ErrLocked = errors.New("locked")
	// ErrMoved says that another writer published since the version that was given.
	ErrMoved = errors.New("another writer published meanwhile")
	// ErrGaveWay says that another build took over what the maps held.
	ErrGaveWay = errors.New("the maps gave way")
)

// InvalidError says what is wrong with a resource, or with the hand-off in the
// environment, and names it.
type InvalidError struct {
	Message string
}

func (e *InvalidError) Error() string { return e.Message }

// OpError says which operation of those that were to be published Err is about.
type OpError struct {
	Op  int // its index
	Err error
}

func (e *OpError) Error() string { return e.Err.Error() }
func (e *OpError) Unwrap() error { return e.Err }

// callError is a failed call of the C store.
type callError struct {
	message string
	is      error
	errno   unix.Errno
}

func (e *callError) Error() string   { return e.message }
func (e *callError) Unwrap() []error { return []error{e.is, e.errno} }

func newError(rc int, message string) error {
	errno := unix.Errno(-rc)
	if message == "" {
		message = errno.Error()
	}
	switch errno {
	case unix.EINVAL, unix.E2BIG:
		return &InvalidError{message}
	case unix.ENOSPC:
		return &callError{message, ErrNoSpace, errno}
	case unix.ETIMEDOUT:
		return &callError{message, ErrLocked, errno}
	case unix.EAGAIN:
		return &callError{message, ErrMoved, errno}
	case unix.ESTALE:
		return &callError{message, ErrGaveWay, errno}
	case unix.ENOENT:
		return &callError{message, ErrNotFound, errno}
	}
	return &callError{message, errno, errno}
}
