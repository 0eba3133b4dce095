// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"sync"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/metrics"
)

// pulse is what the loop of `run` lets others know of itself.
type pulse struct {
	mu     sync.Mutex
	began  time.Time // of the turn that is under way; zero: none is
	loop   metrics.Loop
	failed string // why the last turn could not repair
	config string // why what --config names now is not in force
}

func (p *pulse) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began = time.Now()
}

// end is called when a turn is over.
func (p *pulse) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began, p.loop.Ended = time.Time{}, time.Now()
	p.loop.Turns++
	p.loop.Failed, p.failed = err != nil, textOf(err)
}

// configured is called when the configuration was read.
func (p *pulse) configured(s *source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loop.Configured = s.held.count()
	p.loop.ConfigFailed, p.config = s.err != nil, textOf(s.err)
}

func (p *pulse) repaired(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loop.Repairs += uint64(n)
}

func (p *pulse) state() metrics.Loop {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loop
}

// reasons are those of the loop why things are not as they should be.
func (p *pulse) reasons() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var l []string
	if p.failed != "" {
		l = append(l, "the last turn could not repair: "+p.failed)
	}
	if p.config != "" {
		l = append(l, "what --config names is not in force: "+p.config)
	}
	return l
}

// alive returns an error when the loop hangs: a turn, or the wait for the next one, takes
// a minute longer than it may.
func (p *pulse) alive(interval time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.began.IsZero() && time.Since(p.began) > stepTime:
		return fmt.Errorf("a turn of the loop has taken %v", time.Since(p.began).Round(time.Second))
	case p.began.IsZero() && !p.loop.Ended.IsZero() && time.Since(p.loop.Ended) > interval+stepTime:
		return fmt.Errorf("the loop has not turned for %v, its interval is %v", time.Since(p.loop.Ended).Round(time.Second), interval)
	}
	return nil
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
