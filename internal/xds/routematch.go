// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/kmesh-net/kmesh-node/proto/route"
)

func toOneRoute(r *routev3.Route) (*route.Route, error) {
	if r.GetMatch() == nil {
		return nil, in("match", wrong("is missing"))
	}
	m := &route.Route{Name: r.GetName(), Match: toMatch(r.GetMatch())}
	a, ok := r.GetAction().(*routev3.Route_Route)
	if !ok {
		return m, nil
	}
	var err error
	m.Route, err = toAction(a.Route)
	return m, in("route", err)
}

// addCondition adds a condition in words to those that m has.
func addCondition(m *route.RouteMatch, format string, args ...any) {
	if m.Condition != "" {
		m.Condition += ", "
	}
	m.Condition += Clip(fmt.Sprintf(format, args...))
}

func toMatch(r *routev3.RouteMatch) *route.RouteMatch {
	m := &route.RouteMatch{CaseSensitive: true}
	if c := r.GetCaseSensitive(); c != nil {
		m.CaseSensitive = c.GetValue()
	}
	switch p := r.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		m.Prefix = p.Prefix
	case *routev3.RouteMatch_Path:
		addCondition(m, "path %s", p.Path)
	case *routev3.RouteMatch_SafeRegex:
		addCondition(m, "regex %s", p.SafeRegex.GetRegex())
	case *routev3.RouteMatch_PathSeparatedPrefix:
		addCondition(m, "path prefix %s", p.PathSeparatedPrefix)
	case *routev3.RouteMatch_ConnectMatcher_:
		addCondition(m, "method CONNECT")
	case *routev3.RouteMatch_PathMatchPolicy:
		addCondition(m, "path match policy %s", p.PathMatchPolicy.GetName())
	default:
		addCondition(m, "unknown path specifier")
	}
	for _, h := range r.GetHeaders() {
		addHeader(m, h)
	}
	for _, q := range r.GetQueryParameters() {
		addCondition(m, "query parameter %s", q.GetName())
	}
	for _, c := range r.GetCookies() {
		addCondition(m, "cookie %s", c.GetName())
	}
	if r.GetGrpc() != nil {
		addCondition(m, "gRPC")
	}
	if r.GetTlsContext() != nil {
		addCondition(m, "TLS context")
	}
	if len(r.GetDynamicMetadata()) > 0 {
		addCondition(m, "dynamic metadata")
	}
	if len(r.GetFilterState()) > 0 {
		addCondition(m, "filter state")
	}
	if f := r.GetRuntimeFraction(); f != nil {
		addCondition(m, "fraction of requests %s", f.GetRuntimeKey())
	}
	return m
}

// addHeader keeps an exact or prefix match as such, any other in words.
func addHeader(m *route.RouteMatch, h *routev3.HeaderMatcher) {
	out := &route.HeaderMatcher{Name: h.GetName()}
	if !h.GetInvertMatch() && !h.GetTreatMissingHeaderAsEmpty() {
		switch s := h.GetHeaderMatchSpecifier().(type) {
		case *routev3.HeaderMatcher_ExactMatch:
			//lint:ignore SA1019 control planes still send it
			out.HeaderMatchSpecifier = &route.HeaderMatcher_ExactMatch{ExactMatch: s.ExactMatch}
		case *routev3.HeaderMatcher_PrefixMatch:
			//lint:ignore SA1019 control planes still send it
			out.HeaderMatchSpecifier = &route.HeaderMatcher_PrefixMatch{PrefixMatch: s.PrefixMatch}
		case *routev3.HeaderMatcher_StringMatch:
			setString(out, s.StringMatch)
		}
	}
	if out.HeaderMatchSpecifier == nil {
		addCondition(m, "header %s", h.GetName())
		return
	}
	m.Headers = append(m.Headers, out)
}

func setString(out *route.HeaderMatcher, s *matcherv3.StringMatcher) {
	if s.GetIgnoreCase() {
		return
	}
	switch p := s.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		out.HeaderMatchSpecifier = &route.HeaderMatcher_ExactMatch{ExactMatch: p.Exact}
	case *matcherv3.StringMatcher_Prefix:
		out.HeaderMatchSpecifier = &route.HeaderMatcher_PrefixMatch{PrefixMatch: p.Prefix}
	}
}

// toAction converts an action; nil without an error means that the request names the
// cluster.
func toAction(a *routev3.RouteAction) (*route.RouteAction, error) {
	m := &route.RouteAction{PrefixRewrite: a.GetPrefixRewrite()}
	switch s := a.GetClusterSpecifier().(type) {
	case *routev3.RouteAction_Cluster:
		m.ClusterSpecifier = &route.RouteAction_Cluster{Cluster: s.Cluster}
	case *routev3.RouteAction_WeightedClusters:
		w := &route.WeightedCluster{}
		for i, c := range s.WeightedClusters.GetClusters() {
			if c.GetClusterHeader() != "" {
				return nil, nil
			}
			if c.GetWeight() == nil {
				return nil, in("weighted_clusters", inItem("clusters", i, in("weight", wrong("is missing"))))
			}
			w.Clusters = append(w.Clusters, &route.ClusterWeight{Name: c.GetName(), Weight: c.GetWeight().GetValue()})
		}
		m.ClusterSpecifier = &route.RouteAction_WeightedClusters{WeightedClusters: w}
	case nil:
		return nil, wrong("names no cluster")
	default:
		return nil, nil
	}
	var err error
	if m.Timeout, err = toSeconds(a.GetTimeout()); err != nil {
		return nil, in("timeout", err)
	}
	if p := a.GetRetryPolicy(); p != nil {
		m.RetryPolicy = &route.RetryPolicy{NumRetries: 1}
		if n := p.GetNumRetries(); n != nil {
			m.RetryPolicy.NumRetries = n.GetValue()
		}
	}
	return m, nil
}

// actionName says what a route does that is not for connect.
func actionName(r *routev3.Route) string {
	switch a := r.GetAction().(type) {
	case *routev3.Route_Redirect:
		return "redirect"
	case *routev3.Route_DirectResponse:
		return fmt.Sprintf("direct response %d", a.DirectResponse.GetStatus())
	case *routev3.Route_FilterAction:
		return "filter action"
	case *routev3.Route_NonForwardingAction:
		return "no forwarding"
	case *routev3.Route_Route:
		switch s := a.Route.GetClusterSpecifier().(type) {
		case *routev3.RouteAction_ClusterHeader:
			return "cluster by header " + Clip(s.ClusterHeader)
		case *routev3.RouteAction_WeightedClusters:
			return "weighted clusters by header"
		}
		return "cluster by plugin"
	}
	return "no action"
}

// rewrites names what a route would do to requests, or with copies of them.
func rewrites(r *routev3.Route) []string {
	a := r.GetRoute()
	var parts []string
	for _, p := range []struct {
		field string
		set   bool
	}{
		{"prefix_rewrite", a.GetPrefixRewrite() != ""},
		{"regex_rewrite", a.GetRegexRewrite() != nil},
		{"path_rewrite", a.GetPathRewrite() != "" || a.GetPathRewritePolicy() != nil},
		{"host_rewrite", a.GetHostRewriteSpecifier() != nil},
		{"request_mirror_policies", len(a.GetRequestMirrorPolicies()) > 0},
		{"request_headers_to_add", len(r.GetRequestHeadersToAdd()) > 0},
		{"request_headers_to_remove", len(r.GetRequestHeadersToRemove()) > 0},
		{"response_headers_to_add", len(r.GetResponseHeadersToAdd()) > 0},
		{"response_headers_to_remove", len(r.GetResponseHeadersToRemove()) > 0},
		{"typed_per_filter_config", len(r.GetTypedPerFilterConfig()) > 0},
	} {
		if p.set {
			parts = append(parts, p.field)
		}
	}
	return parts
}
