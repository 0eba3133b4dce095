// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mainPlugin is the network's own plugin: this binary under that name gives a pod a NIC on
// a fabric, as the runtime asks.
const mainPlugin = "e2e-fabric"

// It must not be a test: a runtime of the specification starts it.
func init() {
	if filepath.Base(os.Args[0]) != mainPlugin {
		return
	}
	if err := plugFabric(); err != nil {
		fmt.Printf(`{"code": 999, "msg": %q}`, err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

func plugFabric() error {
	var conf struct {
		CNIVersion string `json:"cniVersion"`
		Bridge     string `json:"bridge"`
		Runtime    struct {
			IPs []string `json:"ips"`
		} `json:"runtimeConfig"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&conf); err != nil {
		return err
	}
	netns, dev := os.Getenv("CNI_NETNS"), os.Getenv("CNI_IFNAME")
	switch os.Getenv("CNI_COMMAND") {
	case "VERSION":
		fmt.Print(`{"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}`)
		return nil
	case "ADD":
	case "DEL":
		if exec.Command("ip", "-n", filepath.Base(netns), "link", "show", dev).Run() != nil {
			return nil // it is gone
		}
		return ipBatch(filepath.Base(netns), "link del "+dev)
	default:
		return nil
	}
	name := filepath.Base(netns)
	port := "port-" + name
	if err := ipBatch("", "link add "+port+" type veth peer name "+dev+" netns "+name,
		"link set "+port+" addrgenmode none master "+conf.Bridge+" up"); err != nil {
		return err
	}
	lines := []string{"link set " + dev + " up", "route add default dev " + dev}
	type ip struct {
		Address   string `json:"address"`
		Interface int    `json:"interface"`
	}
	ips := []ip{}
	for _, a := range conf.Runtime.IPs {
		lines = append([]string{"addr add " + a + " dev " + dev + " nodad"}, lines...)
		ips = append(ips, ip{a, 1})
	}
	if err := ipBatch(name, lines...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"cniVersion": conf.CNIVersion, "ips": ips,
		"interfaces": []map[string]string{{"name": port}, {"name": dev, "sandbox": netns}}})
}

func ipBatch(netns string, lines ...string) error {
	args := []string{"-batch", "-"}
	if netns != "" {
		args = append([]string{"-n", netns}, args...)
	}
	cmd := exec.Command("ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %s%s", err, lines, out)
	}
	return nil
}
