// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// Identity is who asks, in the words of istiod. What is empty is found out when a stream
// opens: a host may get its address only then.
type Identity struct {
	IPs            []netip.Addr // the first one is in the node's id; none: those of the host
	Name           string       // of the pod; "": the host's name
	Namespace      string
	Domain         string // of the cluster: cluster.local
	ClusterID      string
	ServiceAccount string
	NodeName       string // "": the host's name
	Release        string // of this program
	// Region, Zone and Subzone: where it is; may be empty.
	Region, Zone, Subzone string
}

// mostValue bounds each value, as Kubernetes bounds a name.
const mostValue = 253

func (id *Identity) check() error {
	for _, f := range []struct {
		flag, value string
		must        bool
	}{
		{"--xds-pod-name", id.Name, false}, {"--xds-pod-namespace", id.Namespace, true}, {"--xds-domain", id.Domain, true},
		{"--xds-cluster-id", id.ClusterID, true}, {"--xds-service-account", id.ServiceAccount, false},
	} {
		if f.value == "" && !f.must {
			continue
		}
		if len(f.value) > mostValue || !isName(f.value) {
			return &exit.Error{Code: exit.Usage, Step: "usage", Object: f.flag + " " + xds.Clip(f.value),
				Err: fmt.Errorf("it is not 1..%d letters, digits, hyphens, underscores and dots", mostValue)}
		}
	}
	for _, f := range []struct{ flag, value string }{{"--node-name", id.NodeName}, {"--locality", id.Region + id.Zone + id.Subzone}} {
		if !utf8.ValidString(f.value) {
			return &exit.Error{Code: exit.Usage, Step: "usage", Object: f.flag + " " + xds.Clip(f.value), Err: errors.New("it is not UTF-8")}
		}
	}
	for _, ip := range id.IPs {
		if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
			return &exit.Error{Code: exit.Usage, Step: "usage", Object: "--xds-node-ip " + ip.String(), Err: errors.New("it is no address of a node")}
		}
	}
	return nil
}

// node returns the node of the first request of a stream about those types.
func (id *Identity) node(types []string) (*corev3.Node, error) {
	kind := "sidecar"
	if slices.Contains(types, AddressType) {
		kind = "ztunnel"
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("read the host's name: %w", err)
	}
	name, nodeName, ips := id.Name, id.NodeName, id.IPs
	if name == "" {
		name = host
	}
	if !isName(name) {
		return nil, &exit.Error{Code: exit.NotReady, Step: "find out who asks", Object: xds.Clip(name),
			Err: errors.New("the host's name is no name of a pod"), Remedy: "give --xds-pod-name"}
	}
	if nodeName == "" {
		nodeName = host
	}
	if len(ips) == 0 {
		if ips, err = hostIPs(); err != nil {
			return nil, err
		}
	}
	var words []string
	for _, ip := range ips {
		words = append(words, ip.String())
	}
	meta := map[string]any{
		"NAME": name, "NAMESPACE": id.Namespace, "NODE_NAME": nodeName, "CLUSTER_ID": id.ClusterID,
		"INSTANCE_IPS": strings.Join(words, ","),
		// Endpoints as the addresses of sockets: what is behind a tunnel cannot be connected to.
		"DISABLE_HBONE_SEND": "true",
	}
	if id.ServiceAccount != "" {
		meta["SERVICE_ACCOUNT"] = id.ServiceAccount
	}
	s, err := structpb.NewStruct(meta)
	if err != nil {
		return nil, fmt.Errorf("write down who asks: %w", err)
	}
	n := &corev3.Node{
		Id:       fmt.Sprintf("%s~%s~%s.%s~%s.svc.%s", kind, words[0], name, id.Namespace, id.Namespace, id.Domain),
		Cluster:  name + "." + id.Namespace,
		Metadata: s, UserAgentName: "kmesh-node",
		UserAgentVersionType: &corev3.Node_UserAgentVersion{UserAgentVersion: id.Release},
	}
	if id.Region != "" {
		n.Locality = &corev3.Locality{Region: id.Region, Zone: id.Zone, SubZone: id.Subzone}
	}
	return n, nil
}

// hostIPs returns the first address of each family that others may know the host by, IPv4
// first.
func hostIPs() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the host's addresses: %w", err)
	}
	var four, six []netip.Addr
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !p.Addr().IsGlobalUnicast() {
			continue
		}
		if p.Addr().Is4() {
			four = append(four, p.Addr())
		} else {
			six = append(six, p.Addr())
		}
	}
	ips := slices.Concat(four[:min(1, len(four))], six[:min(1, len(six))])
	if len(ips) == 0 {
		return nil, &exit.Error{Code: exit.NotReady, Step: "find out who asks", Err: errors.New("this host has no address but loopback and link-local ones"),
			Remedy: "give --xds-node-ip"}
	}
	return ips, nil
}
