// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"hash/maphash"
	"unique"
)

// versions are those of resources, by a digest of the control plane's names: the sink has
// the names, and there are many. Two names of one digest, which 100 000 names have once in
// billions of processes, would have one version.
type versions map[uint64]unique.Handle[string]

var seed = maphash.MakeSeed()

func digest(name string) uint64 { return maphash.String(seed, name) }

// shared is a version, which many resources have in common.
func shared(version string) unique.Handle[string] { return unique.Make(version) }

func newVersions(n int) versions { return make(versions, n) }

// of returns the version of a name, "" of one that is not there or has none.
func (v versions) of(name string) string {
	h, has := v[digest(name)]
	if !has {
		return ""
	}
	return h.Value()
}
