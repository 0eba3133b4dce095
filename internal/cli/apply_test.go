// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/loader"
)

func TestAnApplyOfAPipeThatNobodyFillsCanBeEnded(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	if _, err := load(ctx, []string{pipe}, nil); !errors.Is(err, loader.ErrInterrupted) {
		t.Errorf("%v", err)
	}
	docs, err := load(context.Background(), []string{"-"}, strings.NewReader("kind: Cluster\nname: a\n"))
	if err != nil || len(docs) != 1 {
		t.Errorf("%v, %v", docs, err)
	}
	w, err := os.OpenFile(pipe, os.O_RDWR, 0) // the reader that is left ends
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
