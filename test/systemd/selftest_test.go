// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"strings"
	"testing"
)

// The unit's sandbox lets the self-test have its cgroup and its network namespace, also
// where clone3 is refused; it leaves neither.
func TestSelfTestIsMadeInTheSandbox(t *testing.T) {
	fresh(t)
	set(t, "KMESH_NODE_LOG_LEVEL=debug")
	must(t, "systemctl", "start", unit)
	ready(t)
	if len(entries(t, priInfo, "phase SelfTest")) != 1 {
		t.Error("the journal has no phase SelfTest")
	}
	must(t, "journalctl", "--sync")
	text := must(t, "journalctl", "_SYSTEMD_INVOCATION_ID="+property(t, "InvocationID"))
	if strings.Contains(text, "self-test: ") {
		t.Errorf("something was not tested:\n%s", text)
	}
	if left := must(t, "find", "/mnt/kmesh_cgroup2", "-maxdepth", "1", "-name", "kmesh-selftest-*"); left != "" {
		t.Errorf("cgroups are left: %s", left)
	}
}

// A sandbox without network namespaces has the start say that nothing was tested.
func TestSelfTestThatCannotBeMadeIsToldOf(t *testing.T) {
	fresh(t)
	dropIn(t, "RestrictNamespaces=yes")
	must(t, "systemctl", "start", unit)
	ready(t)
	if len(entries(t, priWarning, "self-test: not done")) == 0 {
		t.Error("the journal does not say that the self-test was not made")
	}
}
