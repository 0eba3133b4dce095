// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"
)

const (
	liveChanges = 41
	idleFor     = 10 * time.Second
	settleFor   = 5 * time.Second // without a switch
	settleLimit = 40 * time.Second
)

// measureLiveChange adds how long a push of one endpoint takes until a connect sees it,
// and what it costs beside the first sync.
func (b *bench) measureLiveChange(l *live, f *fleet) (err error) {
	var seen []float64
	calls, err := l.countBPF()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, calls.close()) }()
	cpuBefore, err := l.cpu()
	if err != nil {
		return err
	}
	service := f.Services / 2
	for i := range liveChanges {
		r, err := f.change(b.mode, service, i)
		if err != nil {
			return err
		}
		var sent time.Duration
		taken := make(chan error, 1)
		err = b.enrolled.inside(func() error {
			go func() {
				time.Sleep(5 * time.Millisecond) // connections are being made by then
				var err error
				sent, err = monotonic()
				taken <- errors.Join(err, l.push(r))
			}()
			saw, err := b.enrolled.connectUntil(f.VIP(service), f.Spare(i), changePatience)
			if err = errors.Join(err, <-taken); err == nil {
				seen = append(seen, millis(saw-sent))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	cpuAfter, err := l.cpu()
	if err != nil {
		return err
	}
	n, err := calls.read()
	if err != nil {
		return err
	}
	b.report.add(
		row{
			Figure: "one endpoint changed of 10 000 services, until a connect sees it", Unit: "ms", Target: some(5),
			Note: fmt.Sprintf("from before the control plane sends it to the start of the first connect that arrives there; p90 %.1f ms", quantile(seen, 0.9)),
		}.from(seen),
		row{Figure: "such a change, bpf() calls of run", Ours: some(float64(n) / liveChanges),
			Note: map[string]string{modeAds: "what is published in ads mode is written into mapped memory"}[b.mode]},
		row{Figure: "such a change, CPU time of run", Unit: "ms", Ours: some(millis(cpuAfter-cpuBefore) / liveChanges),
			Note: "gRPC and what the kernel does for it included"},
	)
	return nil
}

// measureIdle adds what a run that has nothing to do does.
func (b *bench) measureIdle(l *live) error {
	before, settled, err := b.settle(l)
	if err != nil {
		return err
	}
	time.Sleep(idleFor)
	after, err := l.switches()
	if err != nil {
		return err
	}
	rss, err := l.status("VmRSS")
	if err != nil {
		return err
	}
	own, err := l.status("RssAnon")
	if err != nil {
		return err
	}
	b.report.add(
		row{Figure: "idle, 10 000 services: context switches of run in 10 s", Ours: some(float64(after - before)), Target: some(0),
			Note: fmt.Sprintf("all threads, voluntary and not, from %.0f s after the last change on, when the collector had returned its memory; no watchdog, and no comparison (--reconcile-interval) falls into the time", settled.Seconds())},
		row{Figure: "idle, 10 000 services: RSS of run", Unit: "MB", Ours: some(float64(rss) / 1e6), Target: some(120),
			Note: fmt.Sprintf("%.0f MB its own, the rest pages of the binary and of maps", float64(own)/1e6)},
	)
	return nil
}

// settle waits until the run has done what follows from its last change: the collector
// returns memory in its own time.
func (b *bench) settle(l *live) (switches uint64, took time.Duration, err error) {
	start := time.Now()
	for {
		last := switches
		if switches, err = l.switches(); err != nil {
			return 0, 0, err
		}
		took = time.Since(start)
		if switches == last || took > settleLimit {
			return switches, took, nil
		}
		time.Sleep(settleFor)
	}
}
