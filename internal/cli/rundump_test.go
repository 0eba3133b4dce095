// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/kmesh-net/kmesh-node/loader"
)

// However many ask and read slowly, what one dump is of is in memory once.
func TestOneDumpAtATime(t *testing.T) {
	broken := errors.New("broken")
	var fail error
	a := &adminPart{d: &daemon{cfg: &loader.Config{Mode: loader.Ads}}, dumping: make(chan struct{}, 1),
		read: func(func(string) bool) ([]section, error) { return []section{{plural: "clusters"}}, fail }}
	gone, leave := context.WithCancel(t.Context())
	leave()
	write, err := a.dump(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.dump(gone, ""); !errors.Is(err, errBusy) {
		t.Errorf("a second one before the first is written: %v", err)
	}
	if err := write(io.Discard); err != nil {
		t.Error(err)
	}
	fail = broken
	if _, err := a.dump(t.Context(), ""); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	fail = nil
	if write, err = a.dump(t.Context(), ""); err != nil {
		t.Fatalf("after one that failed: %v", err)
	}
	if err := write(io.Discard); err != nil {
		t.Error(err)
	}
}
