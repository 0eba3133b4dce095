// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Exit codes, as the contract has them.
const (
	exitDone       = 0
	exitUnexpected = 1
	exitUsage      = 2
	exitNotReady   = 10
	exitLoad       = 11
	exitAttach     = 12
	exitRejected   = 13
	exitNotUp      = 14
	exitLocked     = 15
)

// node is a host for one test: a bpffs of its own, and the cgroup of the tests.
type node struct {
	t    testing.TB
	mode string // --mode; "": not given
	bin  string
	bpf  string
	cg   string
	dir  string          // for the test's files
	own  map[string]bool // what a new bpffs holds by itself
}

// newNode returns a host for ads mode on which nothing of kmesh-node is up. At the
// end of the test `down` must take everything away.
func newNode(t testing.TB) *node {
	t.Helper()
	return newNodeOf(t, "ads")
}

func newNodeOf(t testing.TB, mode string) *node {
	t.Helper()
	if skipReason != "" {
		t.Skip(skipReason)
	}
	n := &node{t: t, mode: mode, bin: repoFile(t, "build", "kmesh-node"), cg: cgroupPath, dir: t.TempDir()}
	n.bpf = filepath.Join(n.dir, "bpf")
	if err := os.Mkdir(n.bpf, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", n.bpf, "bpf", 0, ""); err != nil {
		t.Fatalf("mount bpffs: %v", err)
	}
	n.own = map[string]bool{}
	for _, path := range n.pins() {
		n.own[path] = true
	}
	t.Cleanup(func() {
		n.want(exitDone, "down")
		if left := n.pins(); len(left) != 0 {
			t.Errorf("pins after down: %v", left)
		}
		if err := unix.Unmount(n.bpf, 0); err != nil {
			t.Errorf("unmount bpffs: %v", err)
			if err := unix.Unmount(n.bpf, unix.MNT_DETACH); err != nil {
				t.Errorf("unmount bpffs at last: %v", err)
			}
		}
	})
	return n
}

// upNode returns a host on which kmesh-node is up in ads mode with these flags.
func upNode(t testing.TB, flags ...string) *node {
	t.Helper()
	n := newNode(t)
	n.up(flags...)
	return n
}

// in returns the same host for a subtest.
func (n *node) in(t testing.TB) *node {
	c := *n
	c.t = t
	return &c
}

func (n *node) up(flags ...string) {
	n.t.Helper()
	n.want(exitDone, append([]string{"up"}, flags...)...)
}

type result struct {
	args     []string
	code     int
	out, err string
}

func (r result) String() string {
	return fmt.Sprintf("kmesh-node %s: exit %d\n%s%s", strings.Join(r.args, " "), r.code, r.out, r.err)
}

// command prepares kmesh-node with this host's global flags.
func (n *node) command(args ...string) *exec.Cmd {
	global := []string{"--bpf-fs-path", n.bpf, "--cgroup2-path", n.cg}
	if n.mode != "" {
		global = append(global, "--mode", n.mode)
	}
	return exec.Command(n.bin, append(global, args...)...)
}

func (n *node) run(args ...string) result {
	n.t.Helper()
	return runCommand(n.t, n.command(args...))
}

// runCommand waits for cmd, which must end by itself, whatever its exit code.
func runCommand(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { unix.Kill(cmd.Process.Pid, unix.SIGKILL) })
	defer stop()
	err := cmd.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatalf("run %s: %v", cmd, err)
	}
	return result{cmd.Args[1:], cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// want runs kmesh-node and asks for this exit code.
func (n *node) want(code int, args ...string) result {
	n.t.Helper()
	return wantExit(n.t, code, n.run(args...))
}

func wantExit(t testing.TB, code int, r result) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("%v\nwant exit %d", r, code)
	}
	return r
}

// refused asks for an exit code and an error of one line that holds these words.
func refused(t testing.TB, code int, r result, words ...string) {
	t.Helper()
	wantExit(t, code, r)
	lines := strings.Split(strings.TrimSpace(r.err), "\n")
	last := lines[len(lines)-1]
	for _, w := range words {
		if !strings.Contains(strings.ToLower(last), strings.ToLower(w)) {
			t.Errorf("%v\nthe last line of stderr does not say %q", r, w)
		}
	}
}

// query runs a printing command with -o json and decodes what it printed.
func (n *node) query(into any, args ...string) {
	n.t.Helper()
	r := n.want(exitDone, append([]string{"-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(r.out), into); err != nil {
		n.t.Fatalf("%v\nnot JSON: %v", r, err)
	}
}

// apply puts the documents into the maps, all in one batch.
func (n *node) apply(docs ...doc) result {
	n.t.Helper()
	return n.want(exitDone, "apply", "-f", n.write(docs...))
}

// write returns a directory with one file for each document.
func (n *node) write(docs ...doc) string {
	n.t.Helper()
	dir, err := os.MkdirTemp(n.dir, "apply-")
	if err != nil {
		n.t.Fatal(err)
	}
	for i, d := range docs {
		data, err := json.MarshalIndent(d, "", " ")
		if err != nil {
			n.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.json", i)), data, 0o644); err != nil {
			n.t.Fatal(err)
		}
	}
	return dir
}

// pins returns the paths of kmesh-node's files on the bpffs.
func (n *node) pins() []string {
	n.t.Helper()
	var found []string
	err := filepath.WalkDir(n.bpf, func(path string, _ fs.DirEntry, err error) error {
		if name := strings.TrimPrefix(path, n.bpf+"/"); err == nil && path != n.bpf && !n.own[name] {
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return found
}

// pinIDs returns the kernel's id of every pinned object, by path.
func (n *node) pinIDs() map[string]string {
	n.t.Helper()
	ids := map[string]string{}
	for _, pin := range n.pins() {
		info, err := os.Lstat(filepath.Join(n.bpf, pin))
		if err != nil {
			n.t.Fatal(err)
		}
		if info.IsDir() {
			continue
		}
		id, err := pinnedID(filepath.Join(n.bpf, pin))
		if err != nil {
			n.t.Fatal(err)
		}
		ids[pin] = id
	}
	return ids
}

// enroll takes the pod under management.
func (n *node) enroll(p *pod) {
	n.t.Helper()
	n.want(exitDone, "enroll", "--netns", p.path)
}

// background starts kmesh-node and returns it; the test ends it.
func (n *node) background(args ...string) *exec.Cmd {
	n.t.Helper()
	cmd := n.command(args...)
	cmd.Stderr = n.t.Output()
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if cmd.ProcessState != nil {
			return
		}
		if err := cmd.Process.Kill(); err != nil {
			n.t.Error(err)
		}
		if err := cmd.Wait(); err == nil {
			n.t.Error("a killed kmesh-node ended well")
		}
	})
	return cmd
}
