// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// behind has the runtime call the plugin behind these words of a shell.
func (r *cniRuntime) behind(words string) {
	r.t.Helper()
	moved := filepath.Join(r.t.TempDir(), "kmesh-cni")
	plugin := filepath.Join(r.bin, "kmesh-cni")
	err := os.Rename(plugin, moved)
	if err == nil {
		err = os.WriteFile(plugin, fmt.Appendf(nil, "#!/bin/sh\n%s '%s'\n", words, moved), 0o700)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// noFirst is where the host's first process is not in sight: no cookie can be had.
const noFirst = `exec unshare -m --propagation private sh -c 'mount -t tmpfs none /proc/1 && exec "$0"'`

// A pod of which not even the cookie can be had starts, too, with the result of the plugin
// before.
func TestCNIOpenLetsAPodInWithoutItsCookie(t *testing.T) {
	m := newMesh(t)
	r := newRuntime(m.node, m.net)
	r.behind(noFirst)
	p := r.add(serverIP)
	m.leftAlone(r, p)
	r.install("--cni-failure-policy", "closed")
	r.behind(noFirst)
	_, err := r.tryAdd(p)
	wantCode(t, err, types.ErrTryAgainLater, "/proc/1")
}

// leftAlone asks that nobody enrols the pod, that CHECK passes it, and that the plugin
// stays for as long as it is there.
func (m *mesh) leftAlone(r *cniRuntime, p *pod) {
	t := m.t
	t.Helper()
	m.up()
	if m.cookies()[p.cookie()] {
		t.Error("it is enrolled")
	}
	if err := r.check(p); err != nil {
		t.Error(err)
	}
	r.uninstall("stays: the runtime calls it for 1 pods")
	r.del(p) // as the runtime knows the network from before
	if l := r.records(); len(l) > 0 {
		t.Errorf("records %v", l)
	}
	r.uninstall("uninstalled: ")
}

// A pod of a namespace that is excluded is the plugin's to remove all the same.
func TestCNIExcludedPodIsLeftAlone(t *testing.T) {
	m := newMesh(t)
	r := newRuntime(m.node, m.net, "--cni-exclude-namespace", "default")
	m.leftAlone(r, r.add(serverIP))
}

// A pod that policy open let in while another held the lock is as ADD left it, until it is
// enrolled. Under policy closed each pod has to be.
func TestCNICheckGoesByThePolicy(t *testing.T) {
	m := newMesh(t)
	r := newRuntime(m.node, m.net, "--cni-timeout", "1s")
	free := takeLocks(t, r.runFile(".pods.lock"))
	p := r.add(serverIP)
	free()
	if err := r.check(p); err != nil {
		t.Errorf("policy open: %v", err)
	}
	r.install("--cni-failure-policy", "closed")
	wantCode(t, r.check(p), 101, "not enrolled")
	m.up()
	if err := r.check(p); err != nil {
		t.Errorf("once it is enrolled: %v", err)
	}
	m.want(exitDone, "down")
	wantCode(t, r.check(p), types.ErrTryAgainLater, "not up")
	r.del(p)
}

// Run again, as after an upgrade, install keeps what it is not told.
func TestCNIInstallAgainKeepsTheSettings(t *testing.T) {
	m := newMesh(t)
	r := newRuntime(m.node, m.net, "--cni-failure-policy", "closed", "--cni-timeout", "9s", "--cni-exclude-namespace", "a")
	says := func(want string, flags ...string) {
		t.Helper()
		if res := r.install(flags...); !strings.Contains(res.out, want) {
			t.Errorf("%v\ndoes not say %q", res, want)
		}
	}
	says("settings: failure policy closed, timeout 9s, log level warning, bpffs " + m.bpf + ", excluded namespaces: a\n")
	t.Setenv("KMESH_NODE_CNI_LOG_LEVEL", "debug")
	says("failure policy closed, timeout 9s, log level debug,")
	says("failure policy open, timeout 9s, log level debug, bpffs "+m.bpf+", excluded namespaces: none\n", "--cni-failure-policy", "open", "--cni-exclude-namespace", "")
}
