// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/netip"
	"strings"
)

func portAddr(ip string, port int) string {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(port)).String()
}

func contains(text, part string) bool { return strings.Contains(text, part) }
