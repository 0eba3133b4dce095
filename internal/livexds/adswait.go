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
	due := first.Add(fetchTime)
	switch {
	case a.closed || a.timer != nil && !first.IsZero() && !due.Before(a.due):
		return
	case first.IsZero():
		a.disarm()
		return
	}
	a.disarm()
	a.due = due
	a.timer = time.AfterFunc(max(due.Sub(a.now()), least), a.expire)
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
		if (s.gone || s.refused != nil) && s.wanted > 0 && w.hasTaker(s) { // else others wait
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

// retryTime is how long what was refused waits for another try: longer than what waits for
// others, which is not to be behind it at each turn.
const retryTime = time.Minute

// retry has what was refused wait for another try, and says whether the reason is not the one
// of the last time. A response that names it is looked into, and brings it anew.
func (w *world) retry(b xds.Rejection) (news bool) {
	since := w.now().Add(retryTime - fetchTime)
	other := func(before error) bool { return before == nil || before.Error() != b.Err.Error() }
	if r := w.of(b.Kind)[b.Name]; r != nil {
		news = other(r.refused)
		r.print, r.since, r.refused = 0, since, b.Err
	} else if s := w.services[b.Name]; s != nil && b.Kind == xds.KindAssignment {
		news = other(s.refused)
		s.print, s.since, s.refused = 0, since, b.Err
	}
	return news
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
	if len(w.awaited)+len(w.waiting)+len(w.fresh) == 0 {
		return ""
	}
	why := func(refused error) string {
		if refused == nil {
			return ""
		}
		return " (refused: " + xds.Clip(refused.Error()) + ")"
	}
	var l []string
	for q := range w.awaited {
		l = append(l, string(q.kind)+" "+xds.Clip(q.name))
	}
	for r := range w.waiting {
		if r.next != nil {
			l = append(l, shown(r)+why(r.refused))
		}
	}
	for s := range w.fresh {
		if s.refused != nil {
			l = append(l, string(xds.KindAssignment)+" "+xds.Clip(s.name)+why(s.refused))
		}
	}
	return few(l)
}
