// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"testing"
)

// fabric is the network of one test: a bridge in the host's namespace, with one
// port for each pod. All of 10/8 and fd00::/8 is on it.
type fabric struct {
	t    testing.TB
	name string
	node *pod // the host itself
}

// The node's own addresses on the fabric.
const nodeIP4, nodeIP6 = "10.255.0.1", "fd00:255::1"

var fabricCount int

func newFabric(t testing.TB) *fabric {
	t.Helper()
	fabricCount++
	f := &fabric{t: t, name: fmt.Sprintf("br%d", fabricCount)}
	run(t, "", "ip", "link", "add", f.name, "type", "bridge", "mcast_snooping", "0")
	t.Cleanup(func() { run(t, "", "ip", "link", "del", f.name) })
	run(t, "link set "+f.name+" up\n"+
		"addr add "+nodeIP4+"/8 dev "+f.name+"\n"+
		"addr add "+nodeIP6+"/8 dev "+f.name+" nodad\n", "ip", "-batch", "-")
	f.node = &pod{t: t, name: "host", path: "/proc/1/ns/net", dev: f.name, has: map[netip.Addr]bool{
		netip.MustParseAddr(nodeIP4): true, netip.MustParseAddr(nodeIP6): true}}
	return f
}

// pod returns a network namespace with one NIC, which has these addresses.
func (f *fabric) pod(t testing.TB, ips ...string) *pod {
	t.Helper()
	p := newPod(t)
	f.plug(t, p)
	p.dev = "eth0"
	for _, ip := range ips {
		p.addresses(portAddr(ip, 0))
	}
	return p
}

// plug gives the pod a NIC on the fabric, on whose link everybody is.
func (f *fabric) plug(t testing.TB, p *pod) {
	t.Helper()
	port := "port-" + p.name
	run(t, "", "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", p.name)
	run(t, "", "ip", "link", "set", port, "addrgenmode", "none", "master", f.name, "up")
	// A link-local address would be searched for duplicates for two seconds.
	run(t, "link set eth0 addrgenmode none\nlink set eth0 up\nroute add default dev eth0\n", "ip", "-n", p.name, "-batch", "-")
	run(t, "route add default dev eth0\n", "ip", "-6", "-n", p.name, "-batch", "-")
}
