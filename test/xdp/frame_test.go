// SPDX-License-Identifier: Apache-2.0

package xdp

import (
	"encoding/binary"
	"net/netip"
)

const (
	fin = 1
	syn = 2
	rst = 4
	psh = 8
	ack = 16
)

// Headers that may follow each other in IPv6.
const (
	hopByHop = 0
	tcpProto = 6
	udpProto = 17
	routing  = 43
	fragHdr  = 44
	ahHdr    = 51
	icmp6    = 58
	destOpts = 60
)

var (
	client4, server4 = netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2")
	client6, server6 = netip.MustParseAddr("fd00:9::1"), netip.MustParseAddr("fd00:9::2")
)

var be = binary.BigEndian

// frame is what a test says of a packet; the rest is as it should be.
type frame struct {
	src, dst     netip.Addr
	sport, dport uint16
	flags        byte
	seq, ack     uint32
	options      []byte // TCP's
	data         []byte
	partial      bool // checksum

	tags      []uint16 // EtherTypes of VLAN tags
	ipOptions []byte   // IPv4
	frag      uint16   // IPv4's field
	proto     byte     // instead of TCP
	exts      []ext    // IPv6
}

// ext is an extension header: its type, and what it holds behind the next header's type.
type ext struct {
	typ  byte
	rest []byte
}

// options returns an extension header of that many bytes, with padding.
func options(typ byte, size int) ext {
	rest := make([]byte, size-1)
	rest[0] = byte(size/8 - 1)
	rest[1], rest[2] = 1, byte(size-4) // PadN
	return ext{typ, rest}
}

func fragment6(offset uint16, more bool) ext {
	rest := make([]byte, 7)
	be.PutUint16(rest[1:], offset<<3)
	if more {
		rest[2] |= 1
	}
	be.PutUint32(rest[3:], 77)
	return ext{fragHdr, rest}
}

func authentication(size int) ext {
	rest := make([]byte, size-1)
	rest[0] = byte(size/4 - 2)
	return ext{ahHdr, rest}
}

func sum(b []byte, more uint32) uint32 {
	s := uint64(more)
	for ; len(b) > 1; b = b[2:] {
		s += uint64(be.Uint16(b))
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint32(s)
}

func pseudo(src, dst netip.Addr, n int) uint32 {
	return sum(dst.AsSlice(), sum(src.AsSlice(), tcpProto+uint32(n)))
}

func (f frame) tcp() []byte {
	t := make([]byte, 20, 20+len(f.options)+len(f.data))
	be.PutUint16(t, f.sport)
	be.PutUint16(t[2:], f.dport)
	be.PutUint32(t[4:], f.seq)
	be.PutUint32(t[8:], f.ack)
	t[12], t[13] = byte(5+len(f.options)/4)<<4, f.flags
	be.PutUint16(t[14:], 1000)
	t = append(append(t, f.options...), f.data...)
	check := pseudo(f.src, f.dst, len(t))
	if !f.partial {
		check = ^sum(t, check)
	}
	be.PutUint16(t[16:], uint16(check))
	return t
}

func (f frame) bytes() []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	for i, t := range f.tags {
		b = be.AppendUint16(b, t)
		b = be.AppendUint16(b, uint16(100+i))
	}
	body := f.tcp()
	proto := byte(tcpProto)
	if f.proto != 0 {
		proto = f.proto
	}
	if f.src.Is4() {
		return append(append(be.AppendUint16(b, 0x0800), f.ipv4(proto, len(body))...), body...)
	}
	for i := len(f.exts) - 1; i >= 0; i-- {
		body = append(append([]byte{proto}, f.exts[i].rest...), body...)
		proto = f.exts[i].typ
	}
	b = be.AppendUint16(b, 0x86dd)
	b = be.AppendUint32(b, 6<<28)
	b = be.AppendUint16(b, uint16(len(body)))
	b = append(append(append(b, proto, 64), f.src.AsSlice()...), f.dst.AsSlice()...)
	return append(b, body...)
}

func (f frame) ipv4(proto byte, body int) []byte {
	h := make([]byte, 20, 20+len(f.ipOptions))
	h = append(h, f.ipOptions...)
	h[0] = 4<<4 | byte(len(h)/4)
	be.PutUint16(h[2:], uint16(len(h)+body))
	be.PutUint16(h[6:], f.frag)
	h[8], h[9] = 64, proto
	copy(h[12:], f.src.AsSlice())
	copy(h[16:], f.dst.AsSlice())
	be.PutUint16(h[10:], uint16(^sum(h, 0)))
	return h
}

func syn4() frame {
	return frame{src: client4, dst: server4, sport: 40000, dport: 80, flags: syn, seq: 1000}
}

func syn6() frame {
	return frame{src: client6, dst: server6, sport: 40000, dport: 80, flags: syn, seq: 1000}
}
