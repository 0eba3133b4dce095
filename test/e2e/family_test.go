// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"testing"
	"time"
)

func TestConnectTakesEndpointsOfItsOwnFamily(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("both", epA1, six1, epA2, six2), static("four", epB1)),
		lds(listener(service, toCluster("both")), listener(service6, toCluster("both")),
			listener("[::]:80", toCluster("four"))))
	wantSpread(t, c, service, counts{epA1: 20, epA2: 20})
	wantSpread(t, c, service6, counts{six1: 20, six2: 20})
}

func TestClusterWithoutEndpointsOfTheFamilyLeavesAlone(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("four", epA1), static("six", six1)),
		lds(listener(service, toCluster("six")), listener(service6, toCluster("four"))))
	wantReach(t, c, service, service)
	wantReach(t, c, service6, service6)
}

func TestMappedAddressIsTheIPv4ConnectionThatItIs(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("both", epA1, six1)), lds(listener(service, toCluster("both"))))
	wantReach(t, c, "[::ffff:10.96.0.10]:80", epA1)
}

func TestUDPIsUntouched(t *testing.T) {
	n, p, c := site(t)
	p.serveUDP(service)
	p.serveUDP(service6)
	n.apply(cds(static("both", epA1, six1)), lds(listener(service, toCluster("both")),
		listener(service6, toCluster("both")), listener("0.0.0.0:80", toCluster("both"))))
	wantReach(t, c, service, epA1) // TCP to the same address is not
	for _, to := range []string{service, service6} {
		var got string
		c.do(func() { got = askUDP(to) })
		if got != to {
			t.Errorf("a datagram to %s reached %s", to, got)
		}
	}
}

// askUDP returns who answers at addr, by a connected socket.
func askUDP(addr string) string {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err.Error()
	}
	if _, err := conn.Write([]byte("?")); err != nil {
		return err.Error()
	}
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	if err != nil {
		return err.Error()
	}
	if got := conn.RemoteAddr().String(); got != addr {
		return "socket connected to " + got
	}
	return string(buf[:n])
}
