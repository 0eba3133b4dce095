// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/kmesh-net/kmesh-node/internal/workload"
)

// fewAt is how many items of a list a cell has room for.
const fewAt = 3

// few is a list in a cell.
func few(l []string) string {
	switch {
	case len(l) == 0:
		return "-"
	case len(l) > fewAt+1:
		return fmt.Sprintf("%s and %d more", strings.Join(l[:fewAt], ","), len(l)-fewAt)
	}
	return strings.Join(l, ",")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func ports(l []workload.PortView) string {
	words := make([]string, len(l))
	for i, p := range l {
		words[i] = fmt.Sprintf("%d->%d", p.ServicePort, p.TargetPort)
		if p.TargetPort == 0 {
			words[i] = fmt.Sprintf("%d->(named)", p.ServicePort)
		}
	}
	return few(words)
}

func serviceTable(l []workload.ServiceView) *table {
	t := &table{head: []string{"NAME", "ADDRESSES", "PORTS", "ENDPOINTS", "WAYPOINT", "LB", "NOTES"}}
	for _, v := range l {
		t.add(v.Name, few(v.Addresses), ports(v.Ports), fmt.Sprintf("%d/%d", v.Healthy, v.Total),
			orDash(v.Waypoint), v.LoadBalancing, len(v.Notes))
	}
	return t
}

func workloadTable(l []workload.WorkloadView) *table {
	t := &table{head: []string{"UID", "ADDRESSES", "NODE", "IDENTITY", "STATUS", "SERVICES", "POLICIES", "NOTES"}}
	for _, v := range l {
		t.add(v.UID, few(v.Addresses), orDash(v.Node), orDash(v.Identity), v.Status, few(v.Services), few(v.Policies), len(v.Notes))
	}
	return t
}

func policyTable(l []workload.PolicyView) *table {
	t := &table{head: []string{"NAME", "SCOPE", "ACTION", "GROUPS", "DENIED", "NOTES"}}
	for _, v := range l {
		t.add(v.Name, v.Scope, v.Action, v.Groups, v.Denied, len(v.Notes))
	}
	return t
}
