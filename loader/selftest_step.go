// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// SelfTest is the step between Attach and Commit: what is attached by now has to run, or
// all of this `up` is taken back.
func (k *node) SelfTest() error {
	if len(k.changed) == 0 {
		return nil
	}
	s, err := beginTrial(&k.Handles, k.rows)
	if err == nil {
		err = errors.Join(s.attached(k.progs), s.end())
	}
	return k.putBack(ignoreUntestable(k.cfg, err))
}

// putBack says in the error of a self-test what is in place after it.
func (k *node) putBack(err error) error {
	var e *exit.Error
	if !errors.As(err, &e) || e.Remedy != "" {
		return err
	}
	switch {
	case k.found.Build != "":
		e.Remedy = fmt.Sprintf("the build before it (%s) is in place; report this with the kernel's version", k.found.Release)
	case k.other != nil:
		e.Remedy = fmt.Sprintf("mode %s is in place; report this with the kernel's version", otherMode(k.cfg.Mode))
	default:
		e.Remedy = "nothing of it was left; report this with the kernel's version"
	}
	return err
}
