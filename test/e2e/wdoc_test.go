// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
)

// Responses of the workload API. Resources are in the namespace "ns" where nothing
// else is said.

const (
	typeAddress       = "type.googleapis.com/istio.workload.Address"
	typeAuthorization = "type.googleapis.com/istio.security.Authorization"
)

// wds is complete: what it does not name goes away.
func wds(resources ...obj) doc { return whole(typeAddress, addressOf, resources) }

// wdelta changes what it names.
func wdelta(removed []string, resources ...obj) doc {
	return delta(typeAddress, addressOf, removed, resources)
}

// policies is complete, policyDelta changes what it names.
func policies(list ...obj) doc { return whole(typeAuthorization, policyOf, list) }

func policyDelta(removed []string, list ...obj) doc {
	return delta(typeAuthorization, policyOf, removed, list)
}

func whole(url string, of func(obj) obj, resources []obj) doc {
	list := make([]obj, len(resources))
	for i, r := range resources {
		list[i] = of(r)
	}
	return doc{"versionInfo": "1", "nonce": "n", "typeUrl": url, "resources": list}
}

func delta(url string, of func(obj) obj, removed []string, resources []obj) doc {
	list := make([]obj, len(resources))
	for i, r := range resources {
		list[i] = obj{"name": resourceName(r), "resource": of(r)}
	}
	return doc{"systemVersionInfo": "1", "nonce": "n", "typeUrl": url, "resources": list, "removedResources": removed}
}

func addressOf(r obj) obj {
	if _, ok := r["uid"]; ok {
		return obj{"@type": typeAddress, "workload": r}
	}
	return obj{"@type": typeAddress, "service": r}
}

func policyOf(r obj) obj {
	p := obj{"@type": typeAuthorization}
	for k, v := range r {
		p[k] = v
	}
	return p
}

// resourceName is what a control plane calls a resource.
func resourceName(r obj) string {
	if uid, ok := r["uid"]; ok {
		return uid.(string)
	}
	if host, ok := r["hostname"]; ok {
		return fmt.Sprintf("%v/%v", r["namespace"], host)
	}
	return fmt.Sprintf("%v/%v", r["namespace"], r["name"])
}

func ipBytes(ip string) []byte { return netip.MustParseAddr(ip).AsSlice() }

func netAddress(ip string) obj { return obj{"address": ipBytes(ip)} }

// hostOf is the hostname of a service.
func hostOf(service string) string { return service + ".ns.svc.cluster.local" }

// keyOf is how a workload names a service that it belongs to.
func keyOf(service string) string { return "ns/" + hostOf(service) }

// wport is a port of a service or of a workload; a target of 0 is left out.
func wport(port, target int) obj {
	p := obj{"servicePort": port}
	if target != 0 {
		p["targetPort"] = target
	}
	return p
}

// wsvc is a service at these addresses.
func wsvc(name string, vips []string, ports ...obj) obj {
	list := make([]obj, len(vips))
	for i, v := range vips {
		list[i] = netAddress(v)
	}
	return obj{"name": name, "namespace": "ns", "hostname": hostOf(name), "addresses": list, "ports": ports}
}

// with returns a copy of a resource with these members.
func with(r obj, members ...any) obj {
	c := obj{}
	for k, v := range r {
		c[k] = v
	}
	for i := 0; i < len(members); i += 2 {
		c[members[i].(string)] = members[i+1]
	}
	return c
}

// wpod is a workload at this address, and with the name and account pod.
func wpod(pod, ip string, serves ...member) obj {
	w := obj{"uid": uid(pod), "name": pod, "namespace": "ns", "serviceAccount": pod,
		"workloadType": "POD", "workloadName": pod, "clusterId": "c1"}
	if ip != "" {
		w["addresses"] = [][]byte{ipBytes(ip)}
	}
	return join(w, serves...)
}

func uid(pod string) string { return "c1//Pod/ns/" + pod }

// member is a workload's part in a service.
type member struct {
	service string
	ports   []obj
}

func serves(service string, ports ...obj) member { return member{service, ports} }

func join(w obj, serves ...member) obj {
	if len(serves) > 0 {
		list := obj{}
		for _, s := range serves {
			list[keyOf(s.service)] = obj{"ports": s.ports}
		}
		w["services"] = list
	}
	return w
}

// located is a workload at REGION/ZONE/SUBZONE on this node.
func located(w obj, region, zone, subzone, node string) obj {
	return with(w, "locality", obj{"region": region, "zone": zone, "subzone": subzone}, "node", node)
}

// byHost and byIP are waypoints.
func byHost(service string) obj {
	return obj{"hostname": obj{"namespace": "ns", "hostname": hostOf(service)}, "hboneMtlsPort": 15008}
}

func byIP(ip string) obj { return obj{"address": netAddress(ip), "hboneMtlsPort": 15008} }

// policy is an Authorization of the namespace ns with these groups, each a list of
// rules.
func policy(name, scope, action string, groups ...obj) obj {
	return obj{"name": name, "namespace": "ns", "scope": scope, "action": action, "groups": groups}
}

// and is a group of rules, or a rule of matches, when a match.
func and(rules ...obj) obj    { return obj{"rules": rules} }
func or(matches ...obj) obj   { return obj{"matches": matches} }
func when(members ...any) obj { return with(obj{}, members...) }

// onlyWhen is a group with this match alone.
func onlyWhen(members ...any) obj { return and(or(when(members...))) }

func exact(s string) []obj        { return []obj{{"exact": s}} }
func starts(s string) []obj       { return []obj{{"prefix": s}} }
func ends(s string) []obj         { return []obj{{"suffix": s}} }
func present() []obj              { return []obj{{"presence": obj{}}} }
func account(ns, sa string) []obj { return []obj{{"namespace": ns, "serviceAccount": sa}} }

// cidrs are addresses with a prefix length.
func cidrs(list ...string) []obj {
	out := make([]obj, len(list))
	for i, c := range list {
		p := netip.MustParsePrefix(c)
		out[i] = obj{"address": p.Addr().AsSlice(), "length": p.Bits()}
	}
	return out
}
