// SPDX-License-Identifier: Apache-2.0

package xdsclient

import "time"

// The waits between attempts: many nodes lose a control plane at the same moment, and
// must not all come back at one.
const (
	backoffBase = time.Second
	backoffMost = 30 * time.Second
)

// waits are exponential with full jitter: each wait is anything up to a limit that
// doubles.
type waits struct {
	jitter func(time.Duration) time.Duration
	limit  time.Duration // of the last wait; 0: there was none
}

func (w *waits) reset() { w.limit = 0 }

func (w *waits) next() time.Duration {
	w.limit = min(max(2*w.limit, backoffBase), backoffMost)
	return w.jitter(w.limit)
}
