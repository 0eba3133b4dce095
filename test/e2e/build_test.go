// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/cli"
)

// Other builds of kmesh-node are this binary in the role roleBuild: the same commands
// over other BPF objects. Their directory is in buildEnv; of an object that is not in it
// there is the one of this build.
const (
	roleBuild = "build"
	buildEnv  = "KMESH_E2E_BUILD"
)

// Its arguments are kmesh-node's: it must not come to where tests read theirs.
func init() {
	if os.Getenv(roleEnv) == roleBuild {
		os.Exit(cli.Execute(cli.NewCommand(overlay{os.DirFS(os.Getenv(buildEnv)), os.DirFS(filepath.Join("..", "..", "build", "bpf"))}), os.Args))
	}
}

// overlay is a file system in front of another.
type overlay struct{ front, back fs.FS }

func (o overlay) Open(name string) (fs.File, error) {
	f, err := o.front.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return o.back.Open(name)
	}
	return f, err
}

// of is the command as another build has it, whose objects are in dir.
func of(dir string, cmd *exec.Cmd) *exec.Cmd {
	args := cmd.Args[1:]
	cmd = exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+roleBuild, buildEnv+"="+dir)
	return cmd
}

// equalBuild is a build that does the same as this one: each object differs by what
// nobody reads.
func (n *node) equalBuild() string {
	n.t.Helper()
	dir := n.t.TempDir()
	from := repoFile(n.t, "build", "bpf")
	entries, err := os.ReadDir(from)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err == nil && filepath.Ext(e.Name()) == ".o" {
			err = os.WriteFile(filepath.Join(dir, e.Name()), append(data, 0), 0o644)
		}
		if err != nil {
			n.t.Fatal(err)
		}
	}
	return dir
}

// brokenBuild is one of test/variant.
func brokenBuild(t testing.TB, name string) string {
	t.Helper()
	return repoFile(t, "build", "test", "variant", name)
}
