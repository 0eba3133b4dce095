// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"hash/maphash"

	"github.com/sirupsen/logrus"
)

const (
	// mostTold is how many warnings are told of one response.
	mostTold = 20
	// mostWarned is how many are remembered; then they are told again.
	mostWarned = 10000
)

// warned are warnings that were told: a control plane that sends the same again, many times
// a second, does not fill the log.
type warned map[uint64]struct{}

// tell logs those of texts that were not told before.
func (w *warned) tell(log *logrus.Logger, prefix string, texts []string) {
	told, left := 0, 0
	for _, text := range texts {
		print := maphash.String(seed, text)
		if _, before := (*w)[print]; before {
			continue
		}
		if told == mostTold {
			left++
			continue
		}
		if *w == nil || len(*w) >= mostWarned {
			*w = warned{}
		}
		(*w)[print] = struct{}{}
		told++
		log.Warn(prefix + text)
	}
	if left > 0 {
		log.Warnf("%sand %d more of this response", prefix, left)
	}
}
