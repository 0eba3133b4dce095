// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

func (a *Ads) arm(least time.Duration) {
	if a.timer != nil || a.closed {
		return
	}
	first := a.world.oldest()
	if first.IsZero() {
		return
	}
	a.timer = time.AfterFunc(max(first.Add(fetchTime).Sub(a.now()), least), a.expire)
}

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
		return a.bring(s, nil)
	})
	again := time.Millisecond
	if err != nil {
		a.log.WithError(err).Error("xds: what waited for others is not in force")
		again = fetchTime
	}
	a.world.lapse()
	if given := a.world.giveUp(a.now().Add(-fetchTime)); given != "" {
		a.warn([]string{"the control plane did not answer in time about " + given})
	}
	a.arm(again)
}

func (a *Ads) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

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

func few(names []string) string {
	const most = 3
	slices.Sort(names)
	names = slices.Compact(names)
	if n := len(names); n > most {
		names = append(names[:most], fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(names, ", ")
}

func (a *Ads) Synced() (ok bool, missing string) {
	missing = *a.absent.Load()
	return missing == "", missing
}

// note writes down what Synced says. Whatever changes the world does so in the end, with the
// lock held.
func (a *Ads) note() {
	missing := a.world.missing()
	for _, k := range []xds.Kind{xds.KindListener, xds.KindCluster} {
		if !a.come[k] {
			missing = string(k)
		}
	}
	a.absent.Store(&missing)
}

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
