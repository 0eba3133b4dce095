// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// calmTime is without a response: what comes next may be hours away.
	calmTime = 2 * time.Second
	// looseBytes of memory are worth a collection, which comes once in calmTime at most.
	looseBytes = 4 << 20
)

// calm gives memory back some time after the last response: a large one leaves much behind,
// which nothing else would collect before the next one.
type calm struct {
	mu    sync.Mutex
	timer *time.Timer // nil: nothing came since
	kept  uint64      // bytes, after the last time
}

// stir is called for each response.
func (c *calm) stir() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil {
		c.timer = time.AfterFunc(calmTime, c.settle)
		return
	}
	c.timer.Reset(calmTime)
}

// stop keeps a collection from beginning any more.
func (c *calm) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
}

func (c *calm) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = nil
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.Sys-m.HeapReleased < c.kept+looseBytes {
		return
	}
	runtime.GC() // what is pooled goes with the second one
	debug.FreeOSMemory()
	runtime.ReadMemStats(&m)
	c.kept = m.Sys - m.HeapReleased
}
