// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

const (
	smallFleet = 1000
	largeFleet = 10000
	syncRounds = 3 // of the small one
)

// A synced is what a first full sync took.
type synced struct {
	took time.Duration // from the stream's opening until all of it was taken
	cpu  time.Duration // of the run, its start included
	peak uint64        // resident set, bytes
}

// syncLive starts a run that takes a fleet. The last service's connections arrive at its
// endpoints when it returns.
func (b *bench) syncLive(f *fleet, variant string) (l *live, s synced, err error) {
	if l, err = b.startLive(f, variant); err != nil {
		return nil, s, err
	}
	defer func() { l, err = l.unless(err) }()
	if err = l.play(f.all); err != nil {
		return l, s, err
	}
	last := f.Services - 1
	if err = b.arrives(f.VIP(last), f.Of(last)...); err != nil {
		return l, s, fmt.Errorf("after the first sync: %w", err)
	}
	s.took = time.Since(l.opened)
	if s.cpu, err = l.cpu(); err != nil {
		return l, s, err
	}
	s.peak, err = l.status("VmHWM")
	return l, s, err
}

// arrives makes connections to a service, all of which must arrive at its endpoints.
func (b *bench) arrives(vip netip.AddrPort, endpoints ...netip.AddrPort) error {
	return b.enrolled.inside(func() error {
		a, err := b.enrolled.connectTo(b.enrolled.listeners[endpoints[0].Port()], 2*len(endpoints), vip)
		if err != nil {
			return err
		}
		return a.expect(endpoints...)
	})
}

// measureSync adds the first full sync in one variant.
func (b *bench) measureSync(f *fleet, variant string) error {
	var took, peak []float64
	var cpu time.Duration
	for range syncRounds {
		l, s, err := b.syncLive(f, variant)
		if err != nil {
			return err
		}
		took, peak, cpu = append(took, millis(s.took)), append(peak, float64(s.peak)/1e6), s.cpu
		if err := l.stop(); err != nil {
			return err
		}
	}
	b.addSync(f, variant, row{Target: some(400), Note: syncNote(cpu)}.from(took), row{Target: some(60)}.from(peak))
	return nil
}

func (b *bench) addSync(f *fleet, variant string, took, peak row) {
	what := fmt.Sprintf("%s services x %d, %s", grouped(int64(f.Services)), f.Endpoints, variant)
	took.Figure, took.Unit = "first full sync, "+what, "ms"
	peak.Figure, peak.Unit = "peak RSS of run, "+what, "MB"
	b.report.add(took, peak)
}

func syncNote(cpu time.Duration) string {
	return fmt.Sprintf("from the stream's opening until the last response is in force and acknowledged; %.0f ms of CPU time of run, its start included",
		millis(cpu))
}

// measureSmall adds the first full sync of a small fleet.
func (b *bench) measureSmall() error { return b.inVariants(smallFleet, b.measureSync) }

// measureLarge adds what a run does with a large fleet.
func (b *bench) measureLarge() error { return b.inVariants(largeFleet, b.measureFleet) }

// inVariants calls measure with a fleet for each variant of the protocol that the mode has.
func (b *bench) inVariants(services int, measure func(f *fleet, variant string) error) error {
	f, err := newFleet(b.mode, services)
	if err != nil {
		return err
	}
	if b.mode == modeAds {
		if err := measure(f, "sotw"); err != nil {
			return err
		}
	}
	return measure(f, "delta")
}

// measureFleet adds the first sync of a large fleet and, of delta, changes and doing
// nothing.
func (b *bench) measureFleet(f *fleet, variant string) (err error) {
	l, s, err := b.syncLive(f, variant)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	b.addSync(f, variant, row{Target: some(3000), Ours: some(millis(s.took)), Note: syncNote(s.cpu)},
		row{Target: some(250), Ours: some(float64(s.peak) / 1e6)})
	if variant != "delta" {
		return nil
	}
	if err := l.ready(); err != nil {
		return err
	}
	if err := b.measureLiveChange(l, f); err != nil {
		return err
	}
	return b.measureIdle(l)
}
