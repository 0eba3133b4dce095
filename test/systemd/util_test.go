// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	unit = "kmesh-node.service"
	lib  = "/usr/lib/kmesh-node/"
	node = "/usr/sbin/kmesh-node"
)

// result is what a command said and how it ended.
type result struct {
	code           int
	stdout, stderr string
}

// try runs a command to its end.
func try(t *testing.T, words ...string) result {
	t.Helper()
	return tryIn(t, "", words...)
}

// tryIn is try in a directory.
func tryIn(t *testing.T, dir string, words ...string) result {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = dir
	// As by hand: a unit's scripts would know it from this.
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "INVOCATION_ID=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatalf("%s: %v", strings.Join(words, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), strings.TrimSpace(stdout.String()), strings.TrimSpace(stderr.String())}
}

// must runs a command that has to succeed and returns its output.
func must(t *testing.T, words ...string) string {
	t.Helper()
	r := try(t, words...)
	if r.code != 0 {
		t.Fatalf("%s: exit code %d: %s %s", strings.Join(words, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// want fails unless a command ended with code and said text.
func (r result) want(t *testing.T, code int, text string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.stdout+"\n"+r.stderr, text) {
		t.Errorf("exit code %d, want %d and %q: %s %s", r.code, code, text, r.stdout, r.stderr)
	}
}

// startUntilEnd starts a command that runs until the test ends.
func startUntilEnd(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("it ended by itself")
		}
	})
}

// property is one of the unit's.
func property(t *testing.T, name string) string {
	t.Helper()
	return must(t, "systemctl", "show", "--value", "-p", name, unit)
}

// becomes waits for a property of the unit to have a value.
func becomes(t *testing.T, name, value string) {
	t.Helper()
	wait(t, func() error {
		if v := property(t, name); v != value {
			return fmt.Errorf("%s is %q, waiting for %q; %s", name, v, value, property(t, "StatusText"))
		}
		return nil
	})
}

// wait fails the test where fn does not return nil in time.
func wait(t *testing.T, fn func() error) {
	t.Helper()
	if err := eventually(fn); err != nil {
		t.Fatal(err)
	}
}

// needSystemd skips where no test can run.
func needSystemd(t *testing.T) {
	t.Helper()
	if skipReason != "" {
		t.Skip(skipReason)
	}
}

// fresh is where each test begins, and what it leaves: nothing is up, and the
// configuration is that of an installation.
func fresh(t *testing.T) {
	t.Helper()
	needSystemd(t)
	defaults, err := os.ReadFile(defaultsFile)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(node)
	if err != nil {
		t.Fatal(err)
	}
	clean := func() {
		must(t, "systemctl", "stop", unit)
		write(t, defaultsFile, defaults)
		if now, err := os.ReadFile(node); err != nil || !bytes.Equal(now, binary) {
			replaceBinary(t, binary)
		}
		for _, dir := range []string{dropIns, configDir} {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
		if err := os.Mkdir(configDir, 0o755); err != nil {
			t.Error(err)
		}
		must(t, "systemctl", "daemon-reload")
		must(t, "systemctl", "reset-failed")
		must(t, node, "down")
	}
	t.Cleanup(clean)
	clean()
}

const dropIns = unitDir + "/" + unit + ".d"

// dropIn changes settings of the unit's [Service], for this test.
func dropIn(t *testing.T, lines ...string) {
	t.Helper()
	text := "[Service]\n" + strings.Join(lines, "\n") + "\n"
	write(t, filepath.Join(dropIns, fmt.Sprintf("%d.conf", time.Now().UnixNano())), []byte(text))
	must(t, "systemctl", "daemon-reload")
}

// set adds lines to /etc/default/kmesh-node, for this test.
func set(t *testing.T, lines ...string) {
	t.Helper()
	text, err := os.ReadFile(defaultsFile)
	if err != nil {
		t.Fatal(err)
	}
	write(t, defaultsFile, append(text, []byte(strings.Join(lines, "\n")+"\n")...))
}

// replaceBinary is what a package manager does: the running one keeps its file.
func replaceBinary(t *testing.T, data []byte) {
	t.Helper()
	write(t, node, data)
	if err := os.Chmod(node, 0o755); err != nil {
		t.Fatal(err)
	}
}

// running is a unit that runs, with a pod whose connections to the service it leads.
func running(t *testing.T) *pod {
	t.Helper()
	p := newPod(t, "pod")
	p.serve(t)
	configure(t, "shop.json", response(t, service("shop", serviceIP)))
	must(t, "systemctl", "start", unit)
	must(t, lib+"enroll", "pod")
	if err := p.reaches(serviceIP); err != nil {
		t.Fatalf("connect to the service: %v", err)
	}
	return p
}
