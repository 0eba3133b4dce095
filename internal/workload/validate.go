// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/authz"
	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/proto/security"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// validate says what is wrong in a resource, with the path of the field.
func validate(m proto.Message) error {
	switch m := m.(type) {
	case *wapi.Workload:
		return validateWorkload(m)
	case *wapi.Service:
		return validateService(m)
	case *security.Authorization:
		if strings.Contains(m.GetNamespace(), "/") {
			return errors.New("namespace: has a slash in it")
		}
		if err := checkName("name", policyName(m)); err != nil {
			return err
		}
		return authz.Validate(m)
	}
	return errors.New("holds neither a workload nor a service")
}

func validateWorkload(w *wapi.Workload) error {
	if err := checkName("uid", w.GetUid()); err != nil {
		return err
	}
	if w.GetNamespace() != "" {
		if err := checkName("namespace", w.GetNamespace()); err != nil {
			return err
		}
	}
	for i, a := range w.GetAddresses() {
		if err := checkAddress("", a); err != nil {
			return fmt.Errorf("addresses[%d]%w", i, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.GetServices())) {
		if err := checkService(name, w.GetServices()[name].GetPorts()); err != nil {
			return fmt.Errorf("services[%q]%w", xds.Clip(name), err)
		}
	}
	for i, name := range w.GetAuthorizationPolicies() {
		if err := checkName(fmt.Sprintf("authorization_policies[%d]", i), name); err != nil {
			return err
		}
	}
	return first(checkWaypoint(w.GetWaypoint()),
		checkEnum("status", int32(w.GetStatus()), wapi.WorkloadStatus_name),
		checkEnum("network_mode", int32(w.GetNetworkMode()), wapi.NetworkMode_name))
}

// checkService checks one service of a workload. What is wrong begins with where it is.
func checkService(name string, ports []*wapi.Port) error {
	if err := checkName("", name); err != nil {
		return err
	}
	if !strings.Contains(name, "/") {
		return errors.New(": not NAMESPACE/HOSTNAME")
	}
	return checkPorts(".ports", ports)
}

func validateService(s *wapi.Service) error {
	if s.GetHostname() == "" {
		return errors.New("hostname: is empty")
	}
	if strings.Contains(s.GetNamespace(), "/") {
		return errors.New("namespace: has a slash in it")
	}
	if err := checkName("hostname", serviceName(s.GetNamespace(), s.GetHostname())); err != nil {
		return err
	}
	for i, a := range s.GetAddresses() {
		if err := checkAddress(fmt.Sprintf("addresses[%d].address", i), a.GetAddress()); err != nil {
			return err
		}
	}
	if err := checkPorts("ports", s.GetPorts()); err != nil {
		return err
	}
	lb := s.GetLoadBalancing()
	for i, scope := range lb.GetRoutingPreference() {
		field := fmt.Sprintf("load_balancing.routing_preference[%d]", i)
		if err := checkEnum(field, int32(scope), wapi.LoadBalancing_Scope_name); err != nil {
			return err
		}
		if scope == wapi.LoadBalancing_UNSPECIFIED_SCOPE {
			return fmt.Errorf("%s: is unspecified", field)
		}
	}
	return first(checkWaypoint(s.GetWaypoint()),
		checkEnum("load_balancing.mode", int32(lb.GetMode()), wapi.LoadBalancing_Mode_name),
		checkEnum("load_balancing.health_policy", int32(lb.GetHealthPolicy()), wapi.LoadBalancing_HealthPolicy_name))
}

// first returns the first of errs that is one.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkName(field, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s: is empty", field)
	case len(s) > config.MaxName:
		return fmt.Errorf("%s: %d bytes are more than the limit of %d", field, len(s), config.MaxName)
	case !utf8.ValidString(s):
		return fmt.Errorf("%s: is not UTF-8", field)
	case strings.Contains(s, "\x00"):
		return fmt.Errorf("%s: has a zero byte in it", field)
	}
	return nil
}

func checkAddress(field string, b []byte) error {
	if n := len(b); n != 4 && n != 16 {
		return fmt.Errorf("%s: %d bytes, want 4 or 16", field, n)
	}
	if a := addressOf(b); a.IsUnspecified() || a.IsMulticast() {
		return fmt.Errorf("%s: %s is no address to connect to", field, a)
	}
	return nil
}

func checkPorts(field string, ports []*wapi.Port) error {
	for i, p := range ports {
		switch {
		case p.GetServicePort() == 0 || p.GetServicePort() > 65535:
			return fmt.Errorf("%s[%d].service_port: %d, want 1 to 65535", field, i, p.GetServicePort())
		case p.GetTargetPort() > 65535:
			return fmt.Errorf("%s[%d].target_port: %d, want 0 to 65535", field, i, p.GetTargetPort())
		}
	}
	return nil
}

func checkWaypoint(g *wapi.GatewayAddress) error {
	if g == nil {
		return nil
	}
	switch d := g.GetDestination().(type) {
	case *wapi.GatewayAddress_Hostname:
		if d.Hostname.GetHostname() == "" {
			return errors.New("waypoint.hostname.hostname: is empty")
		}
		return checkName("waypoint.hostname", serviceName(d.Hostname.GetNamespace(), d.Hostname.GetHostname()))
	case *wapi.GatewayAddress_Address:
		return checkAddress("waypoint.address.address", d.Address.GetAddress())
	}
	return errors.New("waypoint: names neither a hostname nor an address")
}

func checkEnum(field string, v int32, names map[int32]string) error {
	if _, ok := names[v]; !ok {
		return fmt.Errorf("%s: %d is not known", field, v)
	}
	return nil
}
