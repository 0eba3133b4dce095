// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kmesh-net/kmesh-node/loader"
)

// Set by the build. native is a digest of the C archives: it makes the linker
// run again when one of them has changed.
var (
	version = "unknown"
	commit  = "unknown"
	native  = "unknown"
)

type versionInfo struct {
	Version string            `json:"version"`
	Commit  string            `json:"commit"`
	Libbpf  string            `json:"libbpf"`
	Native  string            `json:"native"`
	Objects map[string]string `json:"objects"` // SHA-256 of each BPF object
}

func (c *command) version() *cli.Command {
	return &cli.Command{Name: "version", Usage: "version, commit, libbpf's version, hashes of the BPF objects",
		Action: noArgs(func(ctx *cli.Context) error {
			v := versionInfo{Version: version, Commit: commit, Libbpf: loader.LibbpfVersion(), Native: native, Objects: map[string]string{}}
			files, err := fs.Glob(c.objects, "*.bpf.o")
			if err != nil {
				return fmt.Errorf("list objects: %w", err)
			}
			for _, f := range files {
				b, err := fs.ReadFile(c.objects, f)
				if err != nil {
					return fmt.Errorf("read object: %w", err)
				}
				sum := sha256.Sum256(b)
				v.Objects[strings.TrimSuffix(f, ".bpf.o")] = hex.EncodeToString(sum[:])
			}
			return c.print(ctx, v, func(w io.Writer) error {
				var t table
				t.add("version", v.Version)
				t.add("commit", v.Commit)
				t.add("libbpf", v.Libbpf)
				for _, name := range slices.Sorted(maps.Keys(v.Objects)) {
					t.add("object "+name, v.Objects[name])
				}
				return t.print(w)
			})
		})}
}
