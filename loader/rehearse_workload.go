// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include "bpf/workload.h"
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/probe"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/proto/security"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// rehearseWorkload has a service with an endpoint, one that is reached through a waypoint,
// and a policy that denies one port of the endpoint.
func (t *trial) rehearseWorkload(s *scratch) (err error) {
	if err := s.workloadSettings(); err != nil {
		return err
	}
	detach, err := t.attachScratchSockMap(s)
	defer func() { err = errors.Join(err, detach()) }()
	if err != nil {
		return err
	}
	w, err := workload.Open(s.FD, workload.Options{Log: s.cfg.Log})
	if err != nil {
		return loadError("self-test", s.cfg.tree().root(), err, "")
	}
	_, err = w.Apply(t.workloadConfig(), false)
	if err := errors.Join(err, w.Close()); err != nil {
		return loadError("self-test", s.cfg.tree().root(), err, "")
	}
	var l []attempt
	for i, ip := range loopbacks {
		if at := netip.AddrPortFrom(ip, t.ports.endpoint); t.has[at] {
			l = append(l, attempt{conn: probe.Conn{To: netip.AddrPortFrom(testService[i], testPort)}, at: at, by: connectRow(ip)})
		}
		if at := netip.AddrPortFrom(ip, t.ports.waypoint); t.has[at] {
			to := netip.AddrPortFrom(testDetour[i], testPort)
			l = append(l, attempt{conn: probe.Conn{To: to, Talk: true}, at: at, by: connectRow(ip), bytes: metadataOf(to), talker: s.talker})
		}
	}
	return t.counted(s.progs, nil, func(counting bool) error {
		if err := t.round(l); err != nil {
			return err
		}
		if err := t.judge(s.progs[nicProgram]); err != nil {
			return err
		}
		return s.ran(append(t.driven(s.progs), nicProgram), counting)
	})
}

// talker is the program that has a connection to a waypoint begin with anything else than
// the metadata: the one that writes it, where the socket came to it.
func (s *scratch) talker() string {
	if info, err := progInfoOf(s.progs["sendmsg"]); err == nil && info.RunCount > 0 {
		return "metadata"
	}
	return "sock_ops"
}

// workloadSettings are those of the loader, as for maps that nobody has written.
func (s *scratch) workloadSettings() error {
	if err := mapUpdate(s.fds["km_node"], uint32(0), s.cfg.Workload.kernel()); err != nil {
		return loadError("self-test", "km_node", err, "")
	}
	err := withPstate(s.fds["km_pstate"], func(p *kwPstate) {
		p.half_shift = C.__u32(bits.TrailingZeros32(s.cfg.PolicySlots))
		p.word = 1 << 1 // the first generation
	})
	if err != nil {
		return loadError("self-test", "km_pstate", err, "")
	}
	return nil
}

// attachScratchSockMap attaches to the scratch map of sockets; what it returns takes that back.
func (t *trial) attachScratchSockMap(s *scratch) (detach func() error, err error) {
	detach = func() error { return nil }
	for _, r := range t.rows {
		if r.hook.kind != onSockMap {
			continue
		}
		prog, target := s.progs[r.name], s.fds[r.hook.target]
		link, err := linkSockMap(prog, target, r.hook.attachType)
		if err == nil {
			return func() error { return unix.Close(link) }, nil
		}
		if errors.Is(err, unix.EINVAL) {
			if err = progAttach(prog, target, r.hook.attachType); err == nil {
				return func() error { return progDetach(prog, target, r.hook.attachType) }, nil
			}
		}
		return detach, attachError("self-test", r.name+" at "+r.hook.String(), err, r.hook.remedy(err))
	}
	return detach, nil
}

// workloadConfig is an endpoint on the loopback addresses, itself the waypoint of one of
// its services.
func (t *trial) workloadConfig() []xds.Document {
	const ns = "selftest"
	host := func(name string) string { return name + "." + ns }
	network := func(a netip.Addr) *wapi.NetworkAddress { return &wapi.NetworkAddress{Address: a.AsSlice()} }
	service := func(name string, at []netip.Addr, target uint16) *wapi.Service {
		s := &wapi.Service{Name: name, Namespace: ns, Hostname: host(name),
			Ports: []*wapi.Port{{ServicePort: testPort, TargetPort: uint32(target)}}}
		for _, a := range at {
			s.Addresses = append(s.Addresses, network(a))
		}
		return s
	}
	pod := &wapi.Workload{Uid: ns, Name: ns, Namespace: ns, Services: map[string]*wapi.PortList{}}
	for _, ip := range loopbacks {
		pod.Addresses = append(pod.Addresses, ip.AsSlice())
	}
	direct := service("direct", testService, t.ports.endpoint)
	detour := service("detour", testDetour, t.ports.endpoint)
	waypoint := service("waypoint", testSupplier, t.ports.waypoint)
	detour.Waypoint = &wapi.GatewayAddress{HboneMtlsPort: 15008, Destination: &wapi.GatewayAddress_Hostname{
		Hostname: &wapi.NamespacedHostname{Namespace: ns, Hostname: waypoint.Hostname}}}
	resources := []proto.Message{&wapi.Address{Type: &wapi.Address_Workload{Workload: pod}}}
	for _, s := range []*wapi.Service{direct, detour, waypoint} {
		pod.Services[ns+"/"+s.Hostname] = &wapi.PortList{Ports: s.Ports}
		resources = append(resources, &wapi.Address{Type: &wapi.Address_Service{Service: s}})
	}
	deny := &security.Authorization{Name: "deny", Namespace: ns, Scope: security.Scope_GLOBAL, Action: security.Action_DENY,
		Groups: []*security.Group{{Rules: []*security.Rules{{Matches: []*security.Match{{
			DestinationPorts: []uint32{uint32(t.ports.other)}}}}}}}}
	return []xds.Document{
		{Path: "self-test", Kind: xds.KindAddress, Complete: true, Resources: resources},
		{Path: "self-test", Kind: xds.KindAuthorization, Complete: true, Resources: []proto.Message{deny}},
	}
}

// metadataOf is what a waypoint is told in front of the first bytes.
func metadataOf(to netip.AddrPort) string {
	ip := to.Addr().AsSlice()
	b := binary.BigEndian.AppendUint32([]byte{1}, uint32(len(ip)+2))
	b = binary.BigEndian.AppendUint16(append(b, ip...), to.Port())
	return string(append(b, 0xfe, 0, 0, 0, 0))
}

// judge has the program judge a connection that no policy denies, and one that is denied.
func (t *trial) judge(prog int) error {
	return errors.Join(onPacket(prog, tcpSyn, t.ports.endpoint, xdpPass), onPacket(prog, tcpSyn, t.ports.other, xdpTx))
}

// Flags of TCP.
const tcpSyn, tcpAck = 1 << 1, 1 << 4

// onPacket runs xdpauth on a packet to that port of a loopback address, and asks for the
// verdict.
func onPacket(prog int, flags byte, port uint16, want uint32) error {
	from, to := netip.AddrPortFrom(testDetour[0], 40000), netip.AddrPortFrom(loopbacks[0], port)
	verdict, err := runOnPacket(prog, tcpPacket(flags, from, to))
	if err != nil {
		return loadError("self-test", nicProgram, fmt.Errorf("run it on a packet: %w", err), "")
	}
	if verdict != want {
		return loadError("self-test", nicProgram, fmt.Errorf("its verdict on a packet is %d, not %d", verdict, want), "")
	}
	return nil
}

// tcpPacket is one without data over IPv4, with the headers of Ethernet in front.
func tcpPacket(flags byte, from, to netip.AddrPort) []byte {
	b := make([]byte, 14+20+20)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
	ip, tcp := b[14:34], b[34:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(b)-14))
	src, dst := from.Addr().As4(), to.Addr().As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(tcp, from.Port())
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	tcp[12], tcp[13] = 5<<4, flags // no options
	return b
}
