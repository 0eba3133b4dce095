// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <arpa/inet.h>
#include "bpf/abi.h"
#include "bpf/workload.h"

static __be16 port_to_net(__u16 v) { return htons(v); }
*/
import "C"

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"github.com/kmesh-net/kmesh-node/internal/probe"
)

type (
	kmAddr     C.struct_km_addr
	kmPorts    C.struct_km_ports
	kwFrontend C.struct_kw_frontend
)

// freePorts finds ports of the loopback addresses that no configuration is about, so that
// connections there go where they were asked to. The one of waypoints is the settings'.
func freePorts(h *Handles) (ports, error) {
	p := ports{waypoint: h.cfg.Workload.WaypointPort}
	free := []*uint16{&p.plain, &p.endpoint, &p.other}
	for port := uint16(61000); len(free) > 0; port-- {
		if port < 1024 {
			return p, fmt.Errorf("%w: the configuration is about every port of the loopback addresses", probe.ErrCannot)
		}
		taken, err := h.configured(port)
		if err != nil {
			return p, err
		}
		if !taken && port != p.waypoint {
			*free[0], free = port, free[1:]
		}
	}
	return p, nil
}

// configured says whether a connection to that port of a loopback address may be sent
// elsewhere.
func (h *Handles) configured(port uint16) (bool, error) {
	if h.cfg.Mode == Ads {
		var p kmPorts
		if err := mapLookup(h.fds["km_ports"], uint32(port)/64, &p); err != nil {
			return false, fmt.Errorf("read km_ports: %w", err)
		}
		return uint64(p.exact|p.wildcard)>>(port%64)&1 != 0, nil
	}
	for _, ip := range loopbacks {
		for _, port := range []uint16{port, 0} {
			var f kwFrontend
			err := mapLookup(h.fds["km_frontend"], newKmAddr(netip.AddrPortFrom(ip, port)), &f)
			if err == nil {
				return true, nil
			}
			if !errors.Is(err, os.ErrNotExist) {
				return false, fmt.Errorf("read km_frontend: %w", err)
			}
		}
	}
	return false, nil
}

// newKmAddr is an address as the programs write it.
func newKmAddr(a netip.AddrPort) kmAddr {
	k := kmAddr{port: C.port_to_net(C.__u16(a.Port()))}
	*(*[16]byte)(unsafe.Pointer(&k.ip)) = a.Addr().As16()
	return k
}
