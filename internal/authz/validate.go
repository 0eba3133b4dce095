// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

// Validate says whether a policy can be enforced as it is written. Its error names the
// field by path. What is not understood is an error: a condition that is left out would
// make an ALLOW policy allow more.
func Validate(a *security.Authorization) error {
	if a.GetName() == "" {
		return errors.New("name: empty")
	}
	if _, ok := security.Scope_name[int32(a.GetScope())]; !ok {
		return fmt.Errorf("scope: %d is not known, want GLOBAL, NAMESPACE or WORKLOAD_SELECTOR", a.GetScope())
	}
	if _, ok := security.Action_name[int32(a.GetAction())]; !ok {
		return fmt.Errorf("action: %d is not known, want ALLOW or DENY", a.GetAction())
	}
	if err := known(a); err != nil {
		return err
	}
	for i, g := range a.GetGroups() {
		if err := validateGroup(g); err != nil {
			return fmt.Errorf("groups[%d]%w", i, err)
		}
	}
	return nil
}

// at puts a place in front of an error that says what is wrong there.
func at(place string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(".%s%w", place, err)
}

func known(m proto.Message) error {
	if u := m.ProtoReflect().GetUnknown(); len(u) > 0 {
		return fmt.Errorf(": holds a field that is not known (%d bytes); it may restrict the policy", len(u))
	}
	return nil
}

func validateGroup(g *security.Group) error {
	if err := known(g); err != nil {
		return err
	}
	for i, r := range g.GetRules() {
		if err := known(r); err != nil {
			return at(fmt.Sprintf("rules[%d]", i), err)
		}
		for j, m := range r.GetMatches() {
			if err := validateMatch(m); err != nil {
				return at(fmt.Sprintf("rules[%d].matches[%d]", i, j), err)
			}
		}
	}
	return nil
}

func validateMatch(m *security.Match) error {
	return first(
		func() error { return known(m) },
		func() error { return each("namespaces", m.GetNamespaces(), validateString) },
		func() error { return each("not_namespaces", m.GetNotNamespaces(), validateString) },
		func() error { return each("service_accounts", m.GetServiceAccounts(), validateAccount) },
		func() error { return each("not_service_accounts", m.GetNotServiceAccounts(), validateAccount) },
		func() error { return each("principals", m.GetPrincipals(), validateString) },
		func() error { return each("not_principals", m.GetNotPrincipals(), validateString) },
		func() error { return each("source_ips", m.GetSourceIps(), validateAddress) },
		func() error { return each("not_source_ips", m.GetNotSourceIps(), validateAddress) },
		func() error { return each("destination_ips", m.GetDestinationIps(), validateAddress) },
		func() error { return each("not_destination_ips", m.GetNotDestinationIps(), validateAddress) },
		func() error { return each("destination_ports", m.GetDestinationPorts(), validatePort) },
		func() error { return each("not_destination_ports", m.GetNotDestinationPorts(), validatePort) },
	)
}

func first(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func each[T any](field string, values []T, check func(T) error) error {
	for i, v := range values {
		if err := check(v); err != nil {
			return at(fmt.Sprintf("%s[%d]", field, i), err)
		}
	}
	return nil
}

func validateString(s *security.StringMatch) error {
	if s.GetMatchType() == nil && len(s.ProtoReflect().GetUnknown()) == 0 {
		return errors.New(": empty, want exact, prefix, suffix or presence")
	}
	return known(s)
}

func validateAccount(s *security.ServiceAccountMatch) error {
	if s.GetServiceAccount() == "" {
		return errors.New(".serviceAccount: empty")
	}
	if s.GetNamespace() == "" {
		return errors.New(".namespace: empty")
	}
	return known(s)
}

func validateAddress(a *security.Address) error {
	n := len(a.GetAddress())
	if n != 4 && n != 16 {
		return fmt.Errorf(".address: %d bytes, want 4 or 16", n)
	}
	if a.GetLength() > uint32(n)*8 {
		return fmt.Errorf(".length: %d, want at most %d", a.GetLength(), n*8)
	}
	return known(a)
}

func validatePort(p uint32) error {
	if p > 65535 {
		return fmt.Errorf(": %d, want at most 65535", p)
	}
	return nil
}
