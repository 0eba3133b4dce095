// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// versions are those of the specification in which plugins are chained.
var versions = version.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

// previous is the result of the plugin before this one.
type previous struct {
	out []byte // to be handed on
	ips []netip.Addr
}

// previous reads prevResult. It is handed on byte for byte, so that nothing is lost that
// this plugin does not know, but where it is of another version than was asked for.
func (c *config) previous() (*previous, error) {
	if len(c.prevResult) == 0 {
		return nil, invalid("prevResult", errors.New("it is missing"),
			"put this plugin behind the one that makes the interface, as kmesh-node cni install does")
	}
	var head struct {
		CNIVersion string      `json:"cniVersion"`
		Interfaces []*struct{} `json:"interfaces"`
		IPs        []*struct{} `json:"ips"`
	}
	if err := json.Unmarshal(c.prevResult, &head); err != nil {
		return nil, invalid("prevResult", err, "")
	}
	if head.CNIVersion == "" {
		return nil, invalid("prevResult.cniVersion", errors.New("it is missing"), "")
	}
	// The conversion between versions does not look out for them.
	if slices.Contains(head.Interfaces, nil) || slices.Contains(head.IPs, nil) {
		return nil, invalid("prevResult", errors.New("one of interfaces and ips is null"), "")
	}
	res, err := version.NewResult(head.CNIVersion, c.prevResult)
	if err != nil {
		return nil, invalid("prevResult", err, "")
	}
	p := &previous{out: append(bytes.Clone(bytes.TrimSpace(c.prevResult)), '\n')}
	if head.CNIVersion != c.cniVersion {
		other, err := res.GetAsVersion(c.cniVersion)
		if err != nil {
			return nil, types.NewError(types.ErrIncompatibleCNIVersion, "prevResult is of version "+head.CNIVersion+": "+err.Error(), "")
		}
		var b bytes.Buffer
		if err := other.PrintTo(&b); err != nil {
			return nil, invalid("prevResult", err, "")
		}
		p.out = b.Bytes()
	}
	p.ips, err = podIPs(res)
	if err != nil {
		return nil, invalid("prevResult.ips", err, "")
	}
	return p, nil
}

// podIPs are the addresses that are inside of the pod.
func podIPs(res types.Result) ([]netip.Addr, error) {
	r, err := types100.GetResult(res)
	if err != nil {
		return nil, err
	}
	var l []netip.Addr
	for _, ip := range r.IPs {
		if i := ip.Interface; i != nil && *i >= 0 && *i < len(r.Interfaces) && r.Interfaces[*i].Sandbox == "" {
			continue // of the host's end
		}
		a, ok := netip.AddrFromSlice(ip.Address.IP)
		if !ok {
			return nil, errors.New("one of them is no address")
		}
		l = append(l, a.Unmap())
	}
	return l, nil
}
