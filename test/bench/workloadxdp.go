// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	bpf "github.com/aquasecurity/libbpfgo"
	"google.golang.org/protobuf/proto"
)

const (
	xdpRounds = 15
	xdpLength = 200000 // packets in each
)

var (
	xdpFrom = netip.MustParseAddrPort("10.9.1.0:40000")
	xdpTo   = netip.MustParseAddrPort("10.9.0.2:8080")
)

// xdpRuns are the programs and packets of one measurement. A SYN is judged by every
// run, so that each is a first packet.
type xdpRuns struct {
	pass   int // returns
	ours   int
	bare   int // the same without room for verdicts: nothing is looked up or written there
	tuples int // makes each packet another connection's and calls what is in next
	next   int // prog array
	syn    []byte
	ack    []byte
}

// measureXDP adds what xdpauth takes for a packet, by BPF_PROG_TEST_RUN.
func (b *bench) measureXDP() error {
	if err := b.fresh(b.enrolled); err != nil {
		return err
	}
	r := &xdpRuns{
		syn: tcpPacket(xdpFrom, xdpTo, tcpSYN, 0),
		ack: tcpPacket(xdpFrom, xdpTo, tcpACK, 100),
	}
	for name, fd := range map[string]*int{"floor_pass": &r.pass, "floor_tuples": &r.tuples} {
		var err error
		if *fd, err = b.floors.program(name); err != nil {
			return err
		}
	}
	next, err := b.floors.module.GetMap("floor_next")
	if err != nil {
		return fmt.Errorf("find floor_next: %w", err)
	}
	r.next = next.FileDescriptor()
	if r.ours, err = openPin(filepath.Join(b.pins("prog"), "xdpauth")); err != nil {
		return err
	}
	defer closeFD(r.ours)
	bare, err := b.withoutFlows()
	if err != nil {
		return err
	}
	defer bare.Close()
	p, err := bare.GetProgram("xdpauth")
	if err != nil {
		return fmt.Errorf("find xdpauth: %w", err)
	}
	r.bare = p.FileDescriptor()

	for _, n := range []int{1, 100, 1000} {
		if err := b.applyPolicies(n); err != nil {
			return err
		}
		if err := b.measurePackets(r, n); err != nil {
			return fmt.Errorf("with %d policies: %w", n, err)
		}
	}
	return nil
}

// applyPolicies makes n policies apply to the workload that packets go to.
func (b *bench) applyPolicies(n int) error {
	var sources []netip.Addr // what floor_tuples counts through
	for i := range 256 {
		a := xdpFrom.Addr().As4()
		a[3] = byte(i)
		sources = append(sources, netip.AddrFrom4(a))
	}
	client, server := newWorkload("client", sources...), newWorkload("server", xdpTo.Addr())
	policies, names := decoyPolicies(n, client)
	server.AuthorizationPolicies = names
	_, err := b.applyResponses(fmt.Sprintf("policies-%d", n), []proto.Message{asAddress(client), asAddress(server)}, policies)
	return err
}

// withoutFlows loads xdpauth once more, on the maps that are pinned but for the flow
// cache, which has no entry that a packet's place could be in.
func (b *bench) withoutFlows() (*bpf.Module, error) {
	path := filepath.Join(b.build, "bpf", "xdpauth.bpf.o")
	m, err := bpf.NewModuleFromFileArgs(bpf.NewModuleArgs{BPFObjPath: path, SkipMemlockBump: true})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	for maps := m.Iterator(); ; {
		each := maps.NextMap()
		if each == nil {
			break
		}
		switch {
		case each.Name() == flowCache:
			err = each.SetMaxEntries(1)
		case !strings.Contains(each.Name(), "."): // else it is the object's own
			err = reusePin(each, filepath.Join(b.pins("map"), each.Name()))
		}
		if err != nil {
			m.Close()
			return nil, fmt.Errorf("prepare map %s of %s: %w", each.Name(), path, err)
		}
	}
	if err := m.BPFLoadObject(); err != nil {
		m.Close()
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	return m, nil
}

func reusePin(m *bpf.BPFMap, path string) error {
	fd, err := openPin(path)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return m.ReuseFD(fd)
}

// measurePackets adds the figures with n policies on the workload.
func (b *bench) measurePackets(r *xdpRuns, n int) error {
	var pass, classified, entered, counted, anew, known []float64
	for range xdpRounds {
		for _, c := range []struct {
			prog   int
			tail   int
			packet []byte
			out    *[]float64
		}{
			{r.pass, -1, r.syn, &pass},
			{r.bare, -1, r.syn, &classified},
			{r.ours, -1, r.syn, &entered},
			{r.ours, -1, r.ack, &known},
			{r.tuples, r.pass, r.syn, &counted},
			{r.tuples, r.ours, r.syn, &anew},
		} {
			if c.tail >= 0 {
				if err := setTail(r.next, c.tail); err != nil {
					return err
				}
			}
			ns, err := testRun(c.prog, c.packet, xdpLength)
			if err != nil {
				return err
			}
			*c.out = append(*c.out, ns)
		}
	}
	targets := map[int][2]float64{1: {150, 450}, 100: {200, 500}, 1000: {300, 600}}[n]
	floor := some(median(pass))
	if n == 1 {
		b.report.add(row{
			Figure: "xdpauth, a known flow", Unit: "ns/packet", Floor: floor, Target: some(80),
			Note: "floor: a return-only program; it includes the test run's own loop",
		}.from(known))
	}
	plural := "policies"
	if n == 1 {
		plural = "policy"
	}
	b.report.add(
		row{
			Figure: fmt.Sprintf("xdpauth, a first packet classified, %d %s on the workload", n, plural),
			Unit:   "ns/packet", Floor: floor, Target: some(targets[0]),
			Note: "the same program on a flow cache that has no entry for any packet: nothing is written there",
		}.from(classified),
		row{
			Figure: fmt.Sprintf("xdpauth, the same with its flow entry, %d %s", n, plural),
			Unit:   "ns/packet", Floor: floor, Target: some(targets[1]),
			Note: fmt.Sprintf("ever new connections, each with an entry of its own, less what making them new takes; %.0f for one connection's SYN again and again",
				median(entered)),
		}.from(apart(anew, apart(counted, pass))),
	)
	return nil
}
