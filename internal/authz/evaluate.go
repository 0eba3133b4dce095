// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

// Evaluate decides by walking the messages, and is what an image is checked against.
//
// Groups are alternatives, the rules of a group must all match, the matches of a rule
// are alternatives, and in a match all fields must hold: each by any of its values, a
// negated one by none. So a policy without groups matches nothing (an ALLOW then allows
// nothing), and a group without rules, a rule without matches and a match without fields
// match everything. The last is what istiod makes of a DENY whose only conditions are
// those of HTTP, and it says of it that more is denied than asked; ztunnel skips it.
func Evaluate(in *Input, set int, p Packet) Decision {
	var s Set
	if set >= 0 && set < len(in.Sets) {
		s = in.Sets[set]
	}
	p.Source, p.Destination = p.Source.Unmap(), p.Destination.Unmap()
	applies, allowed := false, false
	for _, policy := range in.Policies {
		if !s.applies(policy.Authorization) {
			continue
		}
		matches := slices.ContainsFunc(policy.GetGroups(), p.inGroup)
		switch policy.GetAction() {
		case security.Action_DENY:
			if matches {
				return Decision{Policy: policy.ID}
			}
		case security.Action_ALLOW:
			applies = true
			allowed = allowed || matches
		}
	}
	return Decision{Allowed: allowed || !applies}
}

func (s *Set) applies(a *security.Authorization) bool {
	switch a.GetScope() {
	case security.Scope_GLOBAL:
		return true
	case security.Scope_NAMESPACE:
		return s.Known && s.Namespace == a.GetNamespace()
	case security.Scope_WORKLOAD_SELECTOR:
		return s.Known && slices.Contains(s.Selected, a.GetNamespace()+"/"+a.GetName())
	}
	return false
}

func (p *Packet) inGroup(g *security.Group) bool {
	for _, r := range g.GetRules() {
		if len(r.GetMatches()) > 0 && !slices.ContainsFunc(r.GetMatches(), p.inMatch) {
			return false
		}
	}
	return true
}

func (p *Packet) inMatch(m *security.Match) bool {
	id := p.Identity
	principal := id.Principal()
	namespace := func(s *security.StringMatch) bool { return matchString(s, id.Namespace) }
	account := func(s *security.ServiceAccountMatch) bool {
		return id != (Identity{}) && s.GetNamespace() == id.Namespace && s.GetServiceAccount() == id.ServiceAccount
	}
	whole := func(s *security.StringMatch) bool { return matchString(principalPattern(s), principal) }
	source := func(a *security.Address) bool { return prefixOf(a).Contains(p.Source) }
	destination := func(a *security.Address) bool { return prefixOf(a).Contains(p.Destination) }
	port := func(n uint32) bool { return n == uint32(p.Port) }
	return holds(m.GetNamespaces(), m.GetNotNamespaces(), namespace) &&
		holds(m.GetServiceAccounts(), m.GetNotServiceAccounts(), account) &&
		holds(m.GetPrincipals(), m.GetNotPrincipals(), whole) &&
		holds(m.GetSourceIps(), m.GetNotSourceIps(), source) &&
		holds(m.GetDestinationIps(), m.GetNotDestinationIps(), destination) &&
		holds(m.GetDestinationPorts(), m.GetNotDestinationPorts(), port)
}

func holds[T any](some, none []T, is func(T) bool) bool {
	return (len(some) == 0 || slices.ContainsFunc(some, is)) && !slices.ContainsFunc(none, is)
}

// matchString says whether a value is matched; one that is not there is matched by nothing.
func matchString(s *security.StringMatch, v string) bool {
	if v == "" {
		return false
	}
	switch m := s.GetMatchType().(type) {
	case *security.StringMatch_Exact:
		return v == m.Exact
	case *security.StringMatch_Prefix:
		return strings.HasPrefix(v, m.Prefix)
	case *security.StringMatch_Suffix:
		return strings.HasSuffix(v, m.Suffix)
	case *security.StringMatch_Presence:
		return true
	}
	return false
}

const spiffe = "spiffe://"

// principalPattern takes spiffe:// off a pattern that was written with it: a principal
// reads without. A suffix that begins with it is the whole principal.
func principalPattern(s *security.StringMatch) *security.StringMatch {
	switch m := s.GetMatchType().(type) {
	case *security.StringMatch_Exact:
		if v, ok := strings.CutPrefix(m.Exact, spiffe); ok {
			return &security.StringMatch{MatchType: &security.StringMatch_Exact{Exact: v}}
		}
	case *security.StringMatch_Prefix:
		if v, ok := strings.CutPrefix(m.Prefix, spiffe); ok {
			return &security.StringMatch{MatchType: &security.StringMatch_Prefix{Prefix: v}}
		}
	case *security.StringMatch_Suffix:
		if v, ok := strings.CutPrefix(m.Suffix, spiffe); ok {
			return &security.StringMatch{MatchType: &security.StringMatch_Exact{Exact: v}}
		}
	}
	return s
}

// prefixOf is the prefix of a valid Address, without the bits behind its length. An
// IPv4-mapped one is IPv4, and a prefix of one family holds no address of the other.
func prefixOf(a *security.Address) netip.Prefix {
	addr, ok := netip.AddrFromSlice(a.GetAddress())
	if !ok {
		return netip.Prefix{}
	}
	bits := int(a.GetLength())
	if addr.Is4In6() && bits >= 96 {
		addr, bits = addr.Unmap(), bits-96
	}
	return netip.PrefixFrom(addr, bits).Masked()
}
