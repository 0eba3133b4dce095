// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Who asks, in the words of istiod.
func TestTheNode(t *testing.T) {
	id := identity()
	id.IPs = append(id.IPs, netip.MustParseAddr("2001:db8::1"))
	id.ServiceAccount, id.NodeName, id.Region, id.Zone, id.Subzone = "sa", "node-1", "r", "z", "s"
	for kind, types := range map[string][]string{"sidecar": {ClusterType}, "ztunnel": {AddressType, AuthorizationType}} {
		n, err := id.node(types)
		must(t, err)
		if want := kind + "~10.0.0.1~a.b~b.svc.cluster.local"; n.GetId() != want {
			t.Errorf("id %q, want %q", n.GetId(), want)
		}
		for k, want := range map[string]string{
			"NAME": "a", "NAMESPACE": "b", "NODE_NAME": "node-1", "CLUSTER_ID": "Kubernetes", "SERVICE_ACCOUNT": "sa",
			"INSTANCE_IPS": "10.0.0.1,2001:db8::1", "DISABLE_HBONE_SEND": "true",
		} {
			if got := n.GetMetadata().GetFields()[k].GetStringValue(); got != want {
				t.Errorf("%s: %q, want %q", k, got, want)
			}
		}
		if l := n.GetLocality(); l.GetRegion() != "r" || l.GetZone() != "z" || l.GetSubZone() != "s" {
			t.Errorf("locality %v", l)
		}
	}
}

// What nobody said is found out from the host.
func TestTheNodeOfThisHost(t *testing.T) {
	host, err := os.Hostname()
	must(t, err)
	id := identity()
	id.IPs, id.Name = nil, ""
	n, err := id.node([]string{ClusterType})
	if err != nil {
		if exit.Code(err) != exit.NotReady || !strings.Contains(err.Error(), "--xds-node-ip") {
			t.Fatal(err)
		}
		t.Skip("this host has no address but loopback")
	}
	parts := strings.Split(n.GetId(), "~")
	ip, err := netip.ParseAddr(parts[1])
	if err != nil || ip.IsLoopback() || parts[2] != host+".b" {
		t.Errorf("id %q: %v", n.GetId(), err)
	}
	if got := n.GetMetadata().GetFields()["NODE_NAME"].GetStringValue(); got != host {
		t.Errorf("NODE_NAME %q", got)
	}
}

func TestIdentitiesAreChecked(t *testing.T) {
	for flag, spoil := range map[string]func(*Identity){
		"--xds-pod-name":        func(id *Identity) { id.Name = "a~b" },
		"--xds-pod-namespace":   func(id *Identity) { id.Namespace = "" },
		"--xds-domain":          func(id *Identity) { id.Domain = "a b" },
		"--xds-cluster-id":      func(id *Identity) { id.ClusterID = strings.Repeat("x", 254) },
		"--xds-service-account": func(id *Identity) { id.ServiceAccount = "a/b" },
		"--xds-node-ip":         func(id *Identity) { id.IPs = []netip.Addr{netip.IPv4Unspecified()} },
		"--node-name":           func(id *Identity) { id.NodeName = "\xff" },
		"--locality":            func(id *Identity) { id.Zone = "\xff" },
	} {
		id := identity()
		must(t, id.check())
		spoil(&id)
		if err := id.check(); err == nil || exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), flag+" ") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
