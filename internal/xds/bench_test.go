// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"path/filepath"
	"testing"
)

// What `apply` of a thousand services costs before anything is published.
func BenchmarkLoadAndTranslateScale(b *testing.B) {
	for b.Loop() {
		docs, err := Load([]string{filepath.Join("testdata", "scale-1000")}, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Translate(docs, fakeStore{}, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
