// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"
)

// mesh is a host on which workload mode is up, and its network.
type mesh struct {
	*node
	net *fabric
}

func newMesh(t testing.TB, flags ...string) *mesh {
	t.Helper()
	m := &mesh{newNodeOf(t, "workload"), newFabric(t)}
	m.up(flags...)
	return m
}

// in returns the same for a subtest.
func (m *mesh) in(t testing.TB) *mesh { return &mesh{m.node.in(t), m.net} }

// pod returns a pod that is not enrolled.
func (m *mesh) pod(ips ...string) *pod {
	m.t.Helper()
	return m.net.pod(m.t, ips...)
}

// enrolled returns a pod under management.
func (m *mesh) enrolled(ips ...string) *pod {
	m.t.Helper()
	p := m.pod(ips...)
	m.enroll(p)
	return p
}

// Who is who in most tests: two services, of both families, what answers there
// when nothing redirects, the endpoints, and a client.
const (
	vipA, vipA6 = "10.96.0.1:80", "[fd00:96::1]:80"
	vipB, vipB6 = "10.96.0.2:80", "[fd00:96::2]:80"
	ip1, ip2    = "10.2.0.1", "10.2.0.2"
	ip3, ip4    = "10.2.0.3", "10.2.0.4"
	ip1v6       = "fd00:2::1"
	ip2v6       = "fd00:2::2"
	clientIP    = "10.1.0.1"
	clientIP6   = "fd00:1::1"
	serverIP    = "10.3.0.1"
	serverIP6   = "fd00:3::1"
)

// at is an address and port as the client sees them.
func at(ip string, port int) string { return portAddr(ip, port) }

// lane is a mesh with an enrolled client, endpoints at ip1 to ip4, ip1v6 and ip2v6
// on ports 8080 and 9090, and both services' addresses answering by themselves.
func lane(t testing.TB, flags ...string) (*mesh, *client) {
	t.Helper()
	m := newMesh(t, flags...)
	m.backends()
	return m, m.enrolled(clientIP, clientIP6).client(0)
}

func (m *mesh) backends() *pod {
	m.t.Helper()
	p := m.pod()
	p.serve(vipA, vipA6, vipB, vipB6)
	for _, port := range []int{8080, 9090} {
		p.serve(at(ip1, port), at(ip2, port), at(ip3, port), at(ip4, port), at(ip1v6, port), at(ip2v6, port))
	}
	return p
}

// reaches asks where each of these connections goes.
func reaches(t testing.TB, c *client, want map[string]string) {
	t.Helper()
	for dst, to := range want {
		wantReach(t, c, dst, to)
	}
}
