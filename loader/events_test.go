// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

func TestOneReaderOfEvents(t *testing.T) {
	cfg := Default()
	cfg.RunDir = t.TempDir() + "/run"
	release := must1(cfg.LockEvents())(t)
	if _, err := cfg.LockEvents(); exit.Code(err) != exit.Locked || !strings.Contains(err.Error(), "events.lock") {
		t.Errorf("a second reader: %v", err)
	}
	must(t, release())
	must(t, must1(cfg.LockEvents())(t)())
}

func TestAMapIsCurrentUntilItIsTakenDown(t *testing.T) {
	h := newWorkloadHost(t)
	must(t, h.up())
	hd := must1(OpenPinned(&h.cfg))(t)
	defer hd.Close()
	want := func(what string, is bool) {
		t.Helper()
		if got := must1(hd.Current("km_event"))(t); got != is {
			t.Errorf("%s: current %v, want %v", what, got, is)
		}
	}
	want("up", true)
	must(t, h.up())
	want("up again", true)
	must1(Down(&h.cfg))(t)
	want("down", false)
	must(t, h.up())
	want("another one", false)
	must1(Down(&h.cfg))(t)
}
