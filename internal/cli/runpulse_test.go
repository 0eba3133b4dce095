// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A loop that hangs, in a turn or between two, is not alive; one that cannot repair is.
func TestALoopThatHangsIsNotAlive(t *testing.T) {
	const interval = time.Second
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for name, c := range map[string]struct {
		began, ended time.Time
		words        string
	}{
		"before the first turn": {},
		"in a turn":             {began: ago(stepTime / 2), ended: ago(time.Hour)},
		"between turns":         {ended: ago(stepTime / 2)},
		"a turn hangs":          {began: ago(2 * stepTime), words: "a turn of the loop has taken 2m0s"},
		"no turn comes":         {ended: ago(2 * stepTime), words: "has not turned for 2m0s"},
	} {
		p := &pulse{began: c.began}
		p.loop.Ended = c.ended
		err := p.alive(interval)
		if (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %q", name, err, c.words)
		}
	}
	p := &pulse{}
	p.begin()
	p.end(errors.New("in the way"))
	if err := p.alive(interval); err != nil || !strings.Contains(strings.Join(p.reasons(), ""), "in the way") {
		t.Errorf("%v, reasons %q", err, p.reasons())
	}
	p.end(nil)
	if s := p.state(); s.Turns != 2 || s.Failed || len(p.reasons()) != 0 {
		t.Errorf("%+v, reasons %q", s, p.reasons())
	}
}
