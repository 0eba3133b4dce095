// SPDX-License-Identifier: Apache-2.0

// Package authz compiles authorization policies to the image that xdpauth classifies
// packets with, and holds the plain evaluator that the image is checked against. The
// image's layout is in bpf/workload.h.
package authz

import (
	"net/netip"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

// Identity is who a workload is. The zero value is nobody: an address of which no
// workload, or more than one, is known.
type Identity struct {
	TrustDomain    string // "" in the workload API is cluster.local: callers fill that in
	Namespace      string
	ServiceAccount string
}

// Principal is TRUSTDOMAIN/ns/NAMESPACE/sa/SERVICEACCOUNT, "" for nobody.
func (i Identity) Principal() string {
	if i == (Identity{}) {
		return ""
	}
	return i.TrustDomain + "/ns/" + i.Namespace + "/sa/" + i.ServiceAccount
}

// Policy is an Authorization with the number that denials are counted under.
type Policy struct {
	ID uint32 // from 1
	*security.Authorization
}

// Set is which policies apply to a workload: all GLOBAL ones, the NAMESPACE ones of
// its namespace, and the WORKLOAD_SELECTOR ones that it lists as namespace/name.
type Set struct {
	Known     bool // false: a pod of which no workload is known; only GLOBAL ones apply
	Namespace string
	Selected  []string // sorted, no duplicates
}

// Input is all that an image says. Identities[0] must be the zero Identity and
// Sets[0] the zero Set; what lies behind are the indexes in struct kw_peer. An identity
// or set that is nil (unused index) may be the zero value at another index too.
type Input struct {
	Policies   []Policy
	Identities []Identity
	Sets       []Set
}

// Packet is what a decision is about.
type Packet struct {
	Identity    Identity // of the source
	Source      netip.Addr
	Destination netip.Addr
	Port        uint16 // destination
}

// Decision is the answer. Policy is that of the first row that matched when denied
// by a DENY policy, 0 when no ALLOW policy matched.
type Decision struct {
	Allowed bool
	Policy  uint32
}
