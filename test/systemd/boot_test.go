// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"os"
	"strings"
	"testing"
)

// The tests' own boot has these beside kmesh-node: what starts containers, which
// knows nothing of kmesh-node, and what asks for it by name. Each writes down what it
// found when its turn came.
const (
	bootContainerd = `[Unit]
Description=What starts containers
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'systemctl is-active ` + unit + ` >/run/boot-containerd || :; kmesh-node status >>/run/boot-containerd 2>&1'
`
	bootPods = `[Unit]
Description=What needs kmesh-node
Requires=` + unit + `
After=` + unit + `
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '` + lib + `wait-ready --timeout 0 >/run/boot-pods 2>&1'
`
)

func TestBootStartsContainersWhenKmeshNodeIsReady(t *testing.T) {
	needSystemd(t)
	for file, want := range map[string]string{"/run/boot-containerd": "active\n", "/run/boot-pods": "wait-ready: " + unit + " is ready\n"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		} else if !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: %q, want %q", file, b, want)
		} else if strings.Contains(string(b), "not up") {
			t.Errorf("%s: the data plane was not up: %q", file, b)
		}
	}
}
