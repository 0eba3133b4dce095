// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

const serviceName = "bench"

type object = map[string]any

func resource(kind string, fields object) object {
	fields["@type"] = "type.googleapis.com/envoy.config." + kind
	return fields
}

func address(a netip.AddrPort) object {
	return object{"socketAddress": object{"address": a.Addr().String(), "portValue": a.Port()}}
}

// writeService writes what a control plane would send for one service: a listener
// with one tcp_proxy to a cluster, round robin over the endpoints. It returns
// the directory of the files.
func (s *sandbox) writeService(name string, endpoints []netip.AddrPort) (string, error) {
	var lb []object
	for _, e := range endpoints {
		lb = append(lb, object{"endpoint": object{"address": address(e)}})
	}
	responses := []object{
		resource("cluster.v3.Cluster", object{
			"name": name, "type": "STATIC", "connectTimeout": "1s",
			"loadAssignment": object{
				"clusterName": name, "endpoints": []object{{"lbEndpoints": lb}},
			},
		}),
		resource("listener.v3.Listener", object{
			"name": name, "address": address(service),
			"filterChains": []object{{"filters": []object{{
				"name": "tcp",
				"typedConfig": object{
					"@type":      "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
					"statPrefix": name, "cluster": name,
				},
			}}}},
		}),
	}
	dir := filepath.Join(s.stateDir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for i, r := range responses {
		data, err := json.Marshal(object{
			"versionInfo": "1", "typeUrl": r["@type"], "resources": []object{r},
		})
		if err != nil {
			return "", fmt.Errorf("encode %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.json", i)), data, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}
