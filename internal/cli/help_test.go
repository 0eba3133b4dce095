// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// The help is printed here, not by the library's templates: the released binary has
// none of them.
func TestHelpNamesWhatACommandTakes(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}} {
		r := run(args...)
		if r.code != 0 || !strings.HasPrefix(r.out, "NAME:\n   kmesh-node - ") ||
			!strings.Contains(r.out, "\n   help, h   Shows a list") || !strings.Contains(r.out, "\n   --mode value  ") {
			t.Errorf("%q: %+v", args, r)
		}
	}
	for _, args := range [][]string{{"get", "clusters", "--help"}, {"cni", "install", "-h"}, {"delete", "--help", "cluster", "a"}} {
		if r := run(args...); r.code != 0 || !strings.HasPrefix(r.out, "NAME:\n   kmesh-node "+args[0]+" - ") {
			t.Errorf("%q: %+v", args, r)
		}
	}
	want := `NAME:
   kmesh-node exec - run a command with the hand-off and with the descriptors open

USAGE:
   kmesh-node exec [command options] -- CMD [ARG...]

OPTIONS:
   --help, -h  show help
`
	for _, args := range [][]string{{"exec", "--help"}, {"help", "exec"}, {"exec", "-h"}} {
		if r := run(args...); r.code != 0 || r.out != want {
			t.Errorf("%q: %+v, want %q", args, r, want)
		}
	}
	if r := run("help", "exce"); r.code != exit.Usage || !strings.Contains(r.errout, "exce") {
		t.Errorf("help of what is no command: %+v", r)
	}
}
