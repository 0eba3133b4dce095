// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const confidentiality = "confidentiality"

// lockdown returns how far the kernel is locked down: "none", "integrity" or
// confidentiality. The programs run under each; tracefs is not to be touched under
// the last.
func lockdown() (string, error) {
	const file = "lockdown"
	text, err := os.ReadFile("/sys/kernel/security/" + file)
	if errors.Is(err, os.ErrNotExist) {
		text, err = readDetached("securityfs", file)
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return "none", nil // built without
	}
	if err != nil {
		return "", fmt.Errorf("ask for kernel lockdown: %w", err)
	}
	return lockdownState(string(text)), nil
}

// readDetached reads a file of a filesystem through a mount that no path leads to:
// nobody need have mounted it, and nothing of it is left.
func readDetached(fsType, path string) (text []byte, err error) {
	wrap := func(err error) error { return fmt.Errorf("open %s: %w", fsType, err) }
	fs, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, wrap(err)
	}
	defer func() { err = errors.Join(err, unix.Close(fs)) }()
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, wrap(err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, wrap(err)
	}
	defer func() { err = errors.Join(err, unix.Close(mount)) }()
	fd, err := unix.Openat(mount, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s of %s: %w", path, fsType, err)
	}
	f := os.NewFile(uintptr(fd), path)
	text, err = io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", path, fsType, err)
	}
	return text, nil
}
