// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

// Limits of one policy; those of all are in bpf/workload.h.
const (
	MaxPolicyRows = 16384
	maxPairs      = 1 << 20 // of boxes that one rule makes of a group
	maxWork       = 1 << 25
	maxKept       = 1 << 22 // spans, of all policies together
)

// TooLarge is the error of a policy that has no room in an image.
type TooLarge struct {
	Policy string // namespace/name
	What   string
}

func (e *TooLarge) Error() string {
	return fmt.Sprintf("%s: too large: %s; split the policy, or use address prefixes, name prefixes and fewer alternatives in each rule",
		e.Policy, e.What)
}

func nameOf(p *Policy) string { return p.GetNamespace() + "/" + p.GetName() }

// boxesOf is what a policy matches, in all dimensions but KW_D_PSET.
func (c *compiler) boxesOf(p *Policy) ([]box, error) {
	var out []box
	c.spent.work = 0
	for i, g := range p.GetGroups() {
		boxes, err := c.group(p, i, g)
		if err != nil {
			return nil, err
		}
		out = append(out, boxes...)
		if len(out) <= 2*MaxPolicyRows {
			continue
		}
		out = c.reduce(out)
		if err := c.check(p, len(out)); err != nil {
			return nil, err
		}
	}
	out = c.reduce(out)
	return out, c.check(p, len(out))
}

func (c *compiler) check(p *Policy, rows int) error {
	switch {
	case rows > MaxPolicyRows:
		return &TooLarge{nameOf(p), fmt.Sprintf("its groups and rules multiply to more than %d rows", MaxPolicyRows)}
	case c.spent.work > maxWork || c.spent.kept > maxKept:
		return &TooLarge{nameOf(p), "its values multiply to too many ranges"}
	}
	return nil
}

func (c *compiler) group(p *Policy, index int, g *security.Group) ([]box, error) {
	cur := []box{everything}
	for i, r := range g.GetRules() {
		if len(r.GetMatches()) == 0 {
			continue
		}
		boxes, err := c.rule(p, r)
		if err != nil {
			return nil, err
		}
		if len(cur)*len(boxes) > maxPairs {
			return nil, &TooLarge{nameOf(p), fmt.Sprintf("groups[%d].rules[%d] multiplies %d alternatives by %d", index, i, len(cur), len(boxes))}
		}
		var next []box
		for _, a := range cur {
			for _, b := range boxes {
				if m, ok := c.meet(a, b); ok {
					next = append(next, m)
				}
			}
			if err := c.check(p, 0); err != nil {
				return nil, err
			}
		}
		cur = c.reduce(next)
		if err := c.check(p, len(cur)); err != nil {
			return nil, err
		}
	}
	return cur, nil
}

func (c *compiler) rule(p *Policy, r *security.Rules) ([]box, error) {
	var boxes []box
	for _, m := range r.GetMatches() {
		if b, ok := c.match(m); ok {
			boxes = append(boxes, b)
		}
		if err := c.check(p, 0); err != nil {
			return nil, err
		}
	}
	boxes = c.reduce(boxes)
	return boxes, c.check(p, 0)
}

// match is a match as a box; ok is false when nothing satisfies it.
func (c *compiler) match(m *security.Match) (b box, ok bool) {
	b = everything
	identity := c.lines[dimIdentity]
	for _, who := range []cond{
		field(identity, m.GetNamespaces(), m.GetNotNamespaces(), c.namespace),
		field(identity, m.GetServiceAccounts(), m.GetNotServiceAccounts(), c.account),
		field(identity, m.GetPrincipals(), m.GetNotPrincipals(), c.principal),
	} {
		b[dimIdentity] = identity.and(b[dimIdentity], who)
	}
	b[dimSource] = field(c.lines[dimSource], m.GetSourceIps(), m.GetNotSourceIps(), addresses)
	b[dimDest] = field(c.lines[dimDest], m.GetDestinationIps(), m.GetNotDestinationIps(), addresses)
	b[dimPort] = field(c.lines[dimPort], m.GetDestinationPorts(), m.GetNotDestinationPorts(), port)
	return b, !slices.Contains(b[:], none)
}

// field is the condition of one field and its negation; spans appends what a value holds.
func field[T any](l *line, some, not []T, spans func([]span, T) []span) cond {
	c := all
	if len(some) > 0 {
		c = values(l, some, spans)
	}
	if len(not) > 0 {
		c = l.and(c, l.not(values(l, not, spans)))
	}
	return c
}

func values[T any](l *line, v []T, spans func([]span, T) []span) cond {
	var s []span
	for _, e := range v {
		s = spans(s, e)
		if len(s) > maxKept {
			l.spent.kept += len(s) // check refuses the policy
			break
		}
	}
	l.spent.work += len(s) + len(v)
	return l.name(normal(s))
}

func (c *compiler) namespace(s []span, m *security.StringMatch) []span {
	return append(s, c.people.namespaces.spans(m)...)
}

func (c *compiler) principal(s []span, m *security.StringMatch) []span {
	return append(s, c.people.principals.spans(principalPattern(m))...)
}

func (c *compiler) account(s []span, m *security.ServiceAccountMatch) []span {
	return append(s, spansOf(c.people.accounts[[2]string{m.GetNamespace(), m.GetServiceAccount()}])...)
}

func port(s []span, p uint32) []span {
	return append(s, span{key{lo: uint64(p)}, key{lo: uint64(p)}})
}

// mapped is ::ffff:0:0/96: IPv4's place on the line of addresses.
var mapped = span{key{0, 0xffff << 32}, key{0, 0xffff<<32 | 0xffffffff}}

func addressKey(a netip.Addr) key {
	b := a.As16()
	return key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// addresses leaves IPv4's place out of an IPv6 prefix that lies around it.
func addresses(s []span, a *security.Address) []span {
	p := prefixOf(a)
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	from := addressKey(p.Addr())
	to := from
	if bits < 64 {
		to = key{from.hi | ^uint64(0)>>bits, ^uint64(0)}
	} else {
		to.lo |= ^uint64(0) >> (bits - 64)
	}
	if p.Addr().Is6() && bits < 96 && !mapped.from.less(from) && !to.less(mapped.to) {
		return append(s, span{from, mapped.from.previous()}, span{key{0, mapped.to.lo + 1}, to})
	}
	return append(s, span{from, to})
}
