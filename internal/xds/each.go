// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"runtime"
	"sync"
)

// Each calls do for 0 .. n-1, side by side where it is worth it.
func Each(n int, do func(int)) {
	const few = 64
	workers := runtime.GOMAXPROCS(0)
	if n < few || workers == 1 {
		for i := range n {
			do(i)
		}
		return
	}
	var wg sync.WaitGroup
	part := (n + workers - 1) / workers
	for from := 0; from < n; from += part {
		wg.Go(func() {
			for i := from; i < min(from+part, n); i++ {
				do(i)
			}
		})
	}
	wg.Wait()
}
