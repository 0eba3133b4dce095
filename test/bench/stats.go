// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"slices"
)

type number interface {
	cmp.Ordered
	~uint32 | ~uint64 | ~int64 | ~float64
}

// quantile returns the value below which the share q of the values lies; 0 of none.
func quantile[T number](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func median[T number](values []T) T { return quantile(values, 0.5) }

// apart returns a[i]-b[i]: figures of one round differ by what is measured, figures
// of two rounds also by what the machine was doing.
func apart(a, b []float64) []float64 {
	d := make([]float64, min(len(a), len(b)))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return d
}
