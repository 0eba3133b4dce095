// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"
)

const (
	streamRounds  = 31
	streamSeconds = 0.3
)

var (
	streamFrom = netip.MustParseAddr("192.0.2.1")
	streamTo   = netip.MustParseAddrPort("192.0.2.2:9000")
)

// joinPods joins two pods by a veth; its end in the second pod is eth0 there.
func joinPods(a, b *pod) error {
	for _, step := range []struct {
		in   *pod
		args string
	}{
		{a, "link add veth0 type veth peer name eth0 netns " + b.path},
		{a, "addr add " + streamFrom.String() + "/24 dev veth0"},
		{a, "link set veth0 up"},
		{b, "addr add " + streamTo.Addr().String() + "/24 dev eth0"},
		{b, "link set eth0 up"},
	} {
		err := step.in.inside(func() error {
			_, err := runCommand(exec.Command("ip", strings.Fields(step.args)...))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// takeNIC takes over the attachment of xdpauth: it removes the pin of its link and
// returns the program.
func (s *sandbox) takeNIC() (prog int, err error) {
	links, err := filepath.Glob(filepath.Join(s.pins("link"), "xdpauth-*"))
	if err != nil {
		return -1, err
	}
	if len(links) != 1 {
		return -1, fmt.Errorf("find the link of xdpauth: %d are pinned, want the one of the pod", len(links))
	}
	if prog, err = linkProg(links[0]); err != nil {
		return -1, err
	}
	return prog, os.Remove(links[0])
}

// measureStream adds how fast one TCP stream goes through a veth into a pod with
// xdpauth, against an empty program there and none.
func (b *bench) measureStream() error {
	served, err := newPod("served")
	if err != nil {
		return err
	}
	if err := joinPods(b.outside, served); err != nil {
		return err
	}
	if err := b.fresh(served); err != nil {
		return err
	}
	client, server := newWorkload("client", streamFrom), newWorkload("server", streamTo.Addr())
	policies, names := decoyPolicies(1, client)
	server.AuthorizationPolicies = names
	_, err = b.applyResponses("stream", []proto.Message{asAddress(client), asAddress(server)}, policies)
	if err != nil {
		return err
	}
	ours, err := b.takeNIC()
	if err != nil {
		return err
	}
	defer closeFD(ours)
	empty, err := b.floors.program("floor_pass")
	if err != nil {
		return err
	}
	progs := []int{-1, empty, ours}
	out := make([][]float64, len(progs))
	for i := range streamRounds {
		for j := range progs {
			k := (i + j) % len(progs)
			speed, err := b.streamUnder(served, progs[k])
			if err != nil {
				return err
			}
			out[k] = append(out[k], speed)
		}
	}
	// Speeds of one round share what the machine was doing.
	var ofEmpty, ofNone, emptyOfNone []float64
	for i := range streamRounds {
		ofEmpty = append(ofEmpty, 100*out[2][i]/out[1][i])
		ofNone = append(ofNone, out[2][i]/out[0][i])
		emptyOfNone = append(emptyOfNone, out[1][i]/out[0][i])
	}
	b.report.add(
		row{Figure: "TCP stream through a veth, no program", Unit: "Gbit/s"}.from(out[0]),
		row{
			Figure: "TCP stream through a veth, xdpauth, generic", Unit: "Gbit/s",
			Floor: some(median(out[1])),
			Note:  fmt.Sprintf("%.1f %% of no program's; an empty generic one has %.1f %%", 100*median(ofNone), 100*median(emptyOfNone)),
		}.from(out[2]),
		row{
			Figure: "TCP stream through a veth, of an empty generic program's", Unit: "%", Target: some(95), AtLeast: true,
			Note: fmt.Sprintf("median of %d rounds, each with a stream of %.1f s under every program", streamRounds, streamSeconds),
		}.from(ofEmpty),
	)
	return nil
}

// streamUnder is the speed, in Gbit/s, with a generic program on the pod's NIC; none
// where prog is negative.
func (b *bench) streamUnder(served *pod, prog int) (speed float64, err error) {
	if prog >= 0 {
		link := -1
		err := served.inside(func() (err error) {
			link, err = attachNIC(prog, "eth0")
			return err
		})
		if err != nil {
			return 0, err
		}
		defer closeFD(link)
	}
	var listener int
	if err := served.inside(func() (err error) { listener, err = streamListener(streamTo.Port()); return err }); err != nil {
		return 0, err
	}
	defer closeFD(listener)
	received := make(chan streamed, 1)
	go func() { received <- receiveStream(listener) }()
	err = b.outside.inside(func() error { return sendStream(streamTo, streamSeconds) })
	if err != nil {
		// The receiver still waits for the connection.
		if err2 := wakeListener(listener); err2 != nil {
			return 0, errors.Join(err, err2)
		}
	}
	got := <-received
	return got.gbits, errors.Join(err, got.err)
}
