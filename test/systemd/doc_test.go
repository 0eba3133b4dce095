// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

const (
	configDir    = "/etc/kmesh-node"
	defaultsFile = "/etc/default/kmesh-node"
)

// The service that the tests connect to has an address that nobody has, so that
// a connection that is not redirected fails at once.
const (
	serviceIP = "198.51.100.10"
	otherIP   = "198.51.100.11"
	podIP     = "192.0.2.11"
	port      = 80
	podPort   = 8080
)

type obj map[string]any

func address(ip string) []byte { return netip.MustParseAddr(ip).AsSlice() }

// service is what a control plane says of a service at ip with the one pod there is.
func service(name, ip string) []obj {
	const typeAddress = "type.googleapis.com/istio.workload.Address"
	host := name + ".ns.svc.cluster.local"
	uid := "Kubernetes//Pod/ns/" + name
	ports := []obj{{"servicePort": port, "targetPort": podPort}}
	return []obj{
		{"name": "ns/" + host, "resource": obj{"@type": typeAddress, "service": obj{"name": name, "namespace": "ns",
			"hostname": host, "addresses": []obj{{"address": address(ip)}}, "ports": ports}}},
		{"name": uid, "resource": obj{"@type": typeAddress, "workload": obj{"uid": uid, "name": name, "namespace": "ns",
			"addresses": [][]byte{address(podIP)}, "services": obj{"ns/" + host: obj{"ports": ports}}}}},
	}
}

// response is one of the workload API that changes these resources, and no others.
func response(t *testing.T, resources ...[]obj) []byte {
	t.Helper()
	all := []obj{}
	for _, r := range resources {
		all = append(all, r...)
	}
	b, err := json.Marshal(obj{"systemVersionInfo": "1", "nonce": "n",
		"typeUrl": "type.googleapis.com/istio.workload.Address", "resources": all})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// configure replaces a file of the configuration directory, as a whole.
func configure(t *testing.T, name string, data []byte) {
	t.Helper()
	write(t, filepath.Join(configDir, name), data)
}

// write replaces a file.
func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(next, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}
