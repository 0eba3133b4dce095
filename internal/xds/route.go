// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"net/netip"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/kmesh-net/kmesh-node/proto/route"
)

// toRoute converts a RouteConfiguration of Envoy's.
func toRoute(rc *routev3.RouteConfiguration) (*route.RouteConfiguration, error) {
	m := &route.RouteConfiguration{Name: rc.GetName()}
	r := &routes{msg: m}
	for i, vh := range rc.GetVirtualHosts() {
		if err := r.add(vh); err != nil {
			return nil, inItem("virtual_hosts", i, err)
		}
	}
	if rc.GetVhds() != nil {
		r.note("vhds: virtual hosts that stand in another collection are not read")
	}
	if rc.GetVhostHeader() != "" {
		r.note("vhost_header %s: the virtual host is chosen by address all the same", Clip(rc.GetVhostHeader()))
	}
	return m, nil
}

// routes converts one route configuration and gathers notes about it.
type routes struct {
	msg *route.RouteConfiguration
}

func (r *routes) note(format string, args ...any) {
	r.msg.Notes = append(r.msg.Notes, fmt.Sprintf(format, args...))
}

func (r *routes) add(vh *routev3.VirtualHost) error {
	m := &route.VirtualHost{Name: vh.GetName(), Domains: vh.GetDomains()}
	r.msg.VirtualHosts = append(r.msg.VirtualHosts, m)
	for i, each := range vh.GetRoutes() {
		out, err := toOneRoute(each)
		if err != nil {
			return inItem("routes", i, err)
		}
		if vh.GetRequireTls() != routev3.VirtualHost_NONE {
			addCondition(out.Match, "require_tls")
		}
		m.Routes = append(m.Routes, out)
	}
	// Only a virtual host that a destination address can choose has a say.
	if !byAddress(vh.GetDomains()) {
		return nil
	}
	name := "virtual host " + Clip(vh.GetName())
	switch {
	case vh.GetMatcher() != nil:
		r.note("%s: its routes are chosen by a matcher%s", name, passes)
	case len(m.Routes) == 0:
		r.note("%s has no routes%s", name, passes)
	default:
		r.noteFirst(name, vh.GetRoutes()[0], m.Routes[0])
	}
	return nil
}

// noteFirst says what of a virtual host's first route, the one that decides, cannot
// be honoured.
func (r *routes) noteFirst(vhost string, from *routev3.Route, m *route.Route) {
	name := "first route"
	if m.GetName() != "" {
		name += " " + Clip(m.GetName())
	}
	if when := requestCondition(m.GetMatch()); when != "" {
		r.note("%s: %s depends on the request (%s)%s", vhost, name, when, passes)
		return
	}
	if m.GetRoute() == nil {
		r.note("%s: %s names no cluster (%s)%s", vhost, name, actionName(from), passes)
		return
	}
	if parts := rewrites(from); len(parts) > 0 {
		r.note("%s: %s is applied without %s, since the request is not touched", vhost, name, strings.Join(parts, ", "))
	}
}

// requestCondition says in words what a match asks of the request, "" for nothing.
func requestCondition(m *route.RouteMatch) string {
	var parts []string
	if p := m.GetPrefix(); p != "" && p != "/" {
		parts = append(parts, "prefix "+Clip(p))
	}
	for _, h := range m.GetHeaders() {
		parts = append(parts, "header "+Clip(h.GetName()))
	}
	if c := m.GetCondition(); c != "" {
		parts = append(parts, Clip(c))
	}
	return strings.Join(parts, ", ")
}

// byAddress says whether a destination address can choose a virtual host.
func byAddress(domains []string) bool {
	for _, d := range domains {
		if d == "*" || strings.HasPrefix(d, "*:") || isAddress(d) {
			return true
		}
	}
	return false
}

// isAddress says whether a domain is an address, with or without a port.
func isAddress(domain string) bool {
	if _, err := netip.ParseAddrPort(domain); err == nil {
		return true
	}
	if s, ok := strings.CutPrefix(domain, "["); ok {
		domain, _ = strings.CutSuffix(s, "]")
	}
	_, err := netip.ParseAddr(domain)
	return err == nil
}
