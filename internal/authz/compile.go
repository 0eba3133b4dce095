// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"fmt"
	"slices"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

// row is a conjunction that belongs to a policy.
type row struct {
	box
	policy uint32 // id
	name   *Policy
}

// compiler holds what one Compile needs: a line for each dimension, on which conditions
// are sets of spans. A set's index and an identity's rank are places on a line too.
type compiler struct {
	in     *Input
	people *people
	lines  [dims]*line
	spent  effort
	rows   []row
	deny   int
}

// Compile makes the image that says what Evaluate does of in, for the identities and
// sets of in. It is the same for the same input. A policy that is not valid, or has no
// room (*TooLarge), is an error that names it: nothing is left out.
func Compile(in *Input) (*Image, error) {
	for i := range in.Policies {
		p := &in.Policies[i]
		if err := Validate(p.Authorization); err != nil {
			return nil, fmt.Errorf("policy %s: %w", nameOf(p), err)
		}
	}
	c := &compiler{in: in, people: newPeople(in.Identities)}
	for d, last := range [dims]key{
		dimSet:      {lo: uint64(max(len(in.Sets), 1) - 1)},
		dimIdentity: {lo: uint64(c.people.n - 1)},
		dimSource:   {^uint64(0), ^uint64(0)},
		dimDest:     {^uint64(0), ^uint64(0)},
		dimPort:     {lo: 65535},
	} {
		c.lines[d] = newLine(last, &c.spent)
	}
	if err := c.addRows(); err != nil {
		return nil, err
	}
	return c.encode()
}

// addRows makes the rows of all policies that apply anywhere: those of DENY policies first.
// ALLOW policies that apply to the same sets are alternatives, as their groups are, so
// they are reduced together; denials are counted by policy, so DENY policies are not.
func (c *compiler) addRows() error {
	reach := c.reach()
	for i := range c.in.Policies {
		p := &c.in.Policies[i]
		if p.GetAction() != security.Action_DENY || reach[i] == none {
			continue
		}
		boxes, err := c.boxesOf(p)
		if err != nil {
			return err
		}
		if err := c.add(p, boxes, reach[i]); err != nil {
			return err
		}
	}
	c.deny = len(c.rows)

	type alternatives struct {
		policy *Policy
		boxes  []box
		reach  cond
	}
	var order []*alternatives
	of := map[cond]*alternatives{}
	for i := range c.in.Policies {
		p := &c.in.Policies[i]
		if p.GetAction() != security.Action_ALLOW || reach[i] == none {
			continue
		}
		boxes, err := c.boxesOf(p)
		if err != nil {
			return err
		}
		a := of[reach[i]]
		if a == nil {
			a = &alternatives{reach: reach[i]}
			of[reach[i]] = a
			order = append(order, a)
		}
		a.policy = p
		a.boxes = append(a.boxes, boxes...)
		if len(a.boxes) > 2*MaxRows {
			a.boxes = c.reduce(a.boxes)
		}
		if len(a.boxes) > 2*MaxRows {
			return tooManyRows(p)
		}
	}
	for _, a := range order {
		if err := c.add(a.policy, c.reduce(a.boxes), a.reach); err != nil {
			return err
		}
	}
	if len(c.rows) == 0 && len(order) > 0 {
		// Without rows everything would be allowed; nothing satisfies this one.
		never := everything
		never[dimSet] = none
		c.rows = append(c.rows, row{box: never, name: order[0].policy})
	}
	return nil
}

func tooManyRows(p *Policy) error {
	return &TooLarge{nameOf(p), fmt.Sprintf("with it there are more than %d rows of all policies", MaxRows)}
}

func (c *compiler) add(p *Policy, boxes []box, reach cond) error {
	if len(c.rows)+len(boxes) > MaxRows {
		return tooManyRows(p)
	}
	for _, b := range boxes {
		b[dimSet] = reach
		c.rows = append(c.rows, row{box: b, policy: p.ID, name: p})
	}
	return nil
}

// reach is where each policy applies, as a condition on sets.
func (c *compiler) reach() []cond {
	namespaces, workloads := map[string][]int{}, map[string][]int{}
	for i := range c.in.Policies {
		switch p := &c.in.Policies[i]; p.GetScope() {
		case security.Scope_NAMESPACE:
			namespaces[p.GetNamespace()] = append(namespaces[p.GetNamespace()], i)
		case security.Scope_WORKLOAD_SELECTOR:
			workloads[nameOf(p)] = append(workloads[nameOf(p)], i)
		}
	}
	of := make([][]uint32, len(c.in.Policies))
	for i, s := range c.in.Sets {
		if !s.Known {
			continue
		}
		for _, p := range namespaces[s.Namespace] {
			of[p] = append(of[p], uint32(i))
		}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(s.Selected))) {
			for _, p := range workloads[name] {
				of[p] = append(of[p], uint32(i))
			}
		}
	}
	reach := make([]cond, len(of))
	for i := range reach {
		reach[i] = all
		if c.in.Policies[i].GetScope() != security.Scope_GLOBAL {
			reach[i] = c.lines[dimSet].name(spansOf(of[i]))
		}
	}
	return reach
}
