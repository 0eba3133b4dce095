// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"strconv"
	"strings"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// ErrNotUp says that nothing of kmesh-node is pinned where it was looked for.
var ErrNotUp = errors.New("kmesh-node is not up")

// ErrInterrupted says that a start, or a check, ended before its end, because it was told to.
var ErrInterrupted = errors.New("interrupted")

func interrupted(step, object string) error {
	return &exit.Error{Code: exit.Unexpected, Step: step, Object: object, Err: ErrInterrupted,
		Remedy: "everything is as it was before"}
}

// oneLine is err with what it joins on one line.
func oneLine(err error) error {
	if text := err.Error(); strings.Contains(text, "\n") {
		return errors.New(strings.ReplaceAll(text, "\n", "; "))
	}
	return err
}

func itoa(n int) string { return strconv.Itoa(n) }

func notReady(step, object string, err error, remedy string) error {
	return &exit.Error{Code: exit.NotReady, Step: step, Object: object, Err: err, Remedy: remedy}
}

func loadError(step, object string, err error, remedy string) error {
	return &exit.Error{Code: exit.Load, Step: step, Object: object, Err: err, Remedy: remedy}
}

func attachError(step, object string, err error, remedy string) error {
	return &exit.Error{Code: exit.Attach, Step: step, Object: object, Err: err, Remedy: remedy}
}

// codedLoad is loadError for what has no exit code yet.
func codedLoad(step, object string, err error) error {
	var coded *exit.Error
	if errors.As(err, &coded) {
		return err
	}
	return loadError(step, object, err, "run it again")
}

func notUp(step string, t tree) error {
	return &exit.Error{Code: exit.NotUp, Step: step, Object: t.root(), Err: ErrNotUp,
		Remedy: "run: kmesh-node --mode " + t.mode + " up"}
}
