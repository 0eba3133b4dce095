// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// arm has the time of what waits watched, while something does: an idle run is not woken.
func (a *Ads) arm(least time.Duration) {
	first := a.world.oldest()
	switch {
	case a.closed || a.timer != nil && !first.IsZero():
		return
	case first.IsZero():
		a.disarm()
		return
	}
	a.timer = time.AfterFunc(max(first.Add(fetchTime).Sub(a.now()), least), a.expire)
}

// oldest is when that began to wait which waits for longest; zero: nothing waits.
func (w *world) oldest() time.Time {
	var first time.Time
	older := func(t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	for r := range w.waiting {
		older(r.since)
	}
	for s := range w.fresh {
		if s.gone {
			older(s.since)
		}
	}
	for _, t := range w.awaited {
		older(t)
	}
	return first
}

// expire brings into force what has waited for long enough.
func (a *Ads) expire() {
	defer a.changed()
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.note()
	a.timer = nil
	if a.closed {
		return
	}
	err := a.open(func(s storage) error {
		if err := a.follow(s); err != nil {
			return err
		}
		return a.bring(context.Background(), s, nil)
	})
	again := time.Millisecond
	if err != nil {
		a.fault(err, "what waited for others is not in force")
		again = fetchTime
	}
	a.world.lapse()
	if given := a.world.giveUp(a.now().Add(-fetchTime)); given != "" {
		a.warn([]string{"the control plane did not answer in time about " + given})
	}
	a.arm(again)
}

// Close ends the waiting. Nothing comes into force any more but by Update.
func (a *Ads) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.disarm()
}

func (a *Ads) disarm() {
	if a.timer != nil {
		a.timer.Stop() // one that fires now finds nothing to do
		a.timer = nil
	}
}

// giveUp ceases to wait for answers to questions of before that time, and names them.
func (w *world) giveUp(before time.Time) string {
	var l []string
	for q, since := range w.awaited {
		if !since.After(before) {
			delete(w.awaited, q)
			l = append(l, string(q.kind)+" "+xds.Clip(q.name))
		}
	}
	return few(l)
}

// few are some of names, in order, for people.
func few(names []string) string {
	const most = 3
	slices.Sort(names)
	names = slices.Compact(names)
	if n := len(names); n > most {
		names = append(names[:most], fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(names, ", ")
}

// Synced says whether everything that was asked for is in force, or was given up.
func (a *Ads) Synced() (ok bool, missing string) {
	missing = *a.absent.Load()
	return missing == "", missing
}

// note writes down what Synced says. Whatever changes the world does so in the end, with the
// lock held.
func (a *Ads) note() {
	missing := a.world.missing()
	var kinds []string
	for _, k := range []xds.Kind{xds.KindCluster, xds.KindListener} {
		if !a.come[k] {
			kinds = append(kinds, string(k))
		}
	}
	if len(kinds) > 0 {
		missing = strings.Join(kinds, ", ")
	}
	a.absent.Store(&missing)
}

// missing names a few of those that are waited for.
func (w *world) missing() string {
	if len(w.awaited)+len(w.waiting) == 0 {
		return ""
	}
	var l []string
	for q := range w.awaited {
		l = append(l, string(q.kind)+" "+xds.Clip(q.name))
	}
	for r := range w.waiting {
		if r.next != nil {
			l = append(l, shown(r))
		}
	}
	return few(l)
}
