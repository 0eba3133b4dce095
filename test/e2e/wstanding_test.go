// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A connection that came in keeps being judged, whenever the pod came under
// management and whether or not its listener still is there.
func TestStandingConnectionIsResetByANewPolicy(t *testing.T) {
	for name, x := range map[string]struct{ own, other string }{
		"IPv4": {serverIP, clientIP}, "IPv6": {serverIP6, clientIP6},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			p, other := m.pod(x.own), m.pod(x.other)
			// Something is judged, so that verdicts are kept.
			m.apply(wds(wpod("p", x.own)), policies(policy("p", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{1}))))
			before := call(t, other, p, at(x.own, 7001)) // before enrolment
			m.enroll(p)
			after := call(t, other, p, at(x.own, 7002))
			untouched := call(t, other, p, at(x.own, 7003))
			own := call(t, p, other, at(x.other, 7004))
			all := map[string]*line{"enrolled late": before, "opened under management": after, "of another port": untouched, "own": own}
			for what, d := range all {
				d.wantAlive(what)
			}
			m.apply(policies(policy("p", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{7001, 7002}))))
			untouched.wantAlive("of another port")
			own.wantAlive("own")
			before.wantReset("enrolled late")
			after.wantReset("opened under management")
			if got := m.denials(t)["ns/p"]; got == 0 {
				t.Error("no denial is counted")
			}
			m.apply(policies())
			untouched.wantAlive("without policies")
		})
	}
}

// Where the client's identity goes, so does what stands.
func TestStandingConnectionFollowsTheIdentity(t *testing.T) {
	m := newMesh(t)
	p, other := m.enrolled(serverIP), m.pod(clientIP)
	m.apply(wds(wpod("p", serverIP), wpod("c", clientIP)), policies(policy("p", "NAMESPACE", "ALLOW", onlyWhen("serviceAccounts", account("ns", "c")))))
	d := call(t, other, p, at(serverIP, 7001))
	d.wantAlive("allowed")
	m.apply(wdelta(nil, with(wpod("c", clientIP), "serviceAccount", "changed")))
	d.wantReset("its account changed")
}

func TestInboundConnectionThatStoodBeforeEnrolmentIsJudged(t *testing.T) {
	m := newMesh(t)
	p, other := m.pod(serverIP), m.pod(clientIP)
	m.apply(wds(wpod("p", serverIP)), denyAll())
	d := call(t, other, p, at(serverIP, 7001))
	d.wantAlive("not enrolled")
	m.enroll(p)
	d.wantReset("enrolled")
}

// A server that alone speaks hears of the end, too, and so does its client.
func TestStandingStreamFromTheServerIsReset(t *testing.T) {
	m := newMesh(t)
	p, other := m.enrolled(serverIP), m.pod(clientIP)
	m.apply(wds(wpod("p", serverIP)), policies(policy("p", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{1}))))
	d := call(t, other, p, at(serverIP, 7001))
	d.wantAlive("allowed")
	ends := make(chan error, 2)
	go func() {
		for buf := make([]byte, 4096); ; {
			if _, err := d.far.Write(buf); err != nil {
				ends <- fmt.Errorf("server: %w", err)
				return
			}
		}
	}()
	go func() {
		for buf := make([]byte, 4096); ; {
			if _, err := d.near.Read(buf); err != nil {
				ends <- fmt.Errorf("client: %w", err)
				return
			}
		}
	}()
	if err := errors.Join(d.near.SetDeadline(time.Now().Add(patience)), d.far.SetDeadline(time.Now().Add(patience))); err != nil {
		t.Fatal(err)
	}
	m.apply(denyAll())
	for range 2 {
		if err := <-ends; !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
			t.Errorf("%v, want a reset", err)
		}
	}
}

// A listener of both families takes IPv4 clients by an IPv6 socket.
func TestIPv4ConnectionsOfIPv6SocketsAreJudgedByDirection(t *testing.T) {
	m := newMesh(t)
	p, other := m.pod(serverIP, serverIP6), m.pod(clientIP, clientIP6)
	m.apply(wds(wpod("p", serverIP)), policies(policy("p", "NAMESPACE", "DENY", onlyWhen("destinationPorts", []int{1}))))
	in := callAt(t, other, p, "[::]:7001", at(serverIP, 7001))
	own := callAt(t, p, other, "[::]:7002", at(clientIP, 7002))
	m.enroll(p)
	in.wantAlive("allowed")
	own.wantAlive("allowed")
	m.apply(denyAll())
	own.wantAlive("own")
	in.wantReset("denied")
}
