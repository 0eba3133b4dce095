// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"hash/maphash"
	"iter"
	"net/netip"
	"unique"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/proto/security"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// Kind is a kind of resource. The values are those of enum kw_kind.
type Kind uint16

// Kinds of resources.
const (
	Workload Kind = iota + 1
	Service
	Policy
)

// Kinds lists every kind, in the order in which people read them.
func Kinds() []Kind { return []Kind{Service, Workload, Policy} }

func (k Kind) String() string {
	switch k {
	case Workload:
		return "workload"
	case Service:
		return "service"
	case Policy:
		return "policy"
	}
	return fmt.Sprintf("Kind(%d)", uint16(k))
}

// resource is a message that is held, and what was derived from it. It is replaced
// as a whole when its message changes; num stays.
type resource struct {
	name string
	// content is the message, deterministic, of size bytes. Of a workload that was
	// published it is nil but where something of it is asked for again: km_res has it.
	content *byte
	sum     uint64 // digest of the message within this process
	size    uint32
	num     uint32 // the stable number of this kind and name
	id      uint32 // of its chunks; 0: not written yet
	kind    Kind
	marked  bool // see model.mark

	hasAddr bool     // of a workload
	addr    [16]byte // its first address; the others are derived.addrs

	w traits
	s *wapi.Service

	more *derived // nil: nothing was derived, as from most workloads
}

// derived is what follows from a resource, and what few have.
type derived struct {
	policy   *security.Authorization
	addrs    []netip.Addr                // of a workload, but the first
	services []unique.Handle[membership] // of a workload, but the first

	claimed []frontendKey
	named   []target // waypoints

	warnings, notes []string
}

// got is what was derived, for reading.
func (r *resource) got() derived {
	if r.more == nil {
		return derived{}
	}
	return *r.more
}

// derived is for adding to it.
func (r *resource) derived() *derived {
	if r.more == nil {
		r.more = &derived{}
	}
	return r.more
}

var seed = maphash.MakeSeed()

func digestOf(wire []byte) uint64 { return maphash.Bytes(seed, wire) }

// wire is the message, where it is held.
func (r *resource) wire() []byte {
	if r.content == nil {
		return nil
	}
	return unsafe.Slice(r.content, r.size)
}

// addrs are the addresses of a workload.
func (r *resource) addrs() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		if !r.hasAddr || !yield(unmapped(r.addr[:])) || r.more == nil {
			return
		}
		for _, a := range r.more.addrs {
			if !yield(a) {
				return
			}
		}
	}
}

func (r *resource) String() string { return r.kind.String() + " " + xds.Clip(r.name) }

func (r *resource) warn(format string, args ...any) {
	t := r.derived()
	t.warnings = append(t.warnings, r.String()+": "+fmt.Sprintf(format, args...))
}

func (r *resource) note(format string, args ...any) {
	t := r.derived()
	t.notes = append(t.notes, r.String()+": "+fmt.Sprintf(format, args...))
}

func serviceName(namespace, hostname string) string { return namespace + "/" + hostname }

func policyName(p *security.Authorization) string { return p.GetNamespace() + "/" + p.GetName() }

// NameOf is what the control plane calls a resource of a document; "" for what is none.
func NameOf(m proto.Message) string {
	_, name := nameOf(inner(m))
	return name
}

// nameOf returns kind and name of a resource, as the control plane names it.
func nameOf(m proto.Message) (Kind, string) {
	switch m := m.(type) {
	case *wapi.Workload:
		return Workload, m.GetUid()
	case *wapi.Service:
		return Service, serviceName(m.GetNamespace(), m.GetHostname())
	case *security.Authorization:
		return Policy, policyName(m)
	}
	return 0, ""
}

// newResource makes a resource of a valid message.
func newResource(m proto.Message) (*resource, error) {
	wire, err := (proto.MarshalOptions{Deterministic: true}).Marshal(m)
	if err != nil {
		k, name := nameOf(m)
		return nil, fmt.Errorf("encode %s %s: %w", k, xds.Clip(name), err)
	}
	return resourceOf(m, wire), nil
}

// resourceOf keeps of a workload's message what is asked for again and again: there are
// many. wire is not changed any more.
func resourceOf(m proto.Message, wire []byte) *resource {
	r := &resource{content: unsafe.SliceData(wire), sum: digestOf(wire), size: uint32(len(wire))}
	r.kind, r.name = nameOf(m)
	switch m := m.(type) {
	case *wapi.Workload:
		r.takeTraits(m)
		for i, b := range m.GetAddresses() {
			if i == 0 {
				r.hasAddr, r.addr = true, mapped(addressOf(b))
				continue
			}
			d := r.derived()
			d.addrs = append(d.addrs, addressOf(b))
		}
	case *wapi.Service:
		r.s = m
	case *security.Authorization:
		r.derived().policy = m
	}
	return r
}

// is says whether a resource in wire form is r. It is not where the wire form is another
// one, though the message may be the same.
func (r *resource) is(wire []byte) bool {
	if r.kind == Policy {
		return r.sum == digestOf(wire)
	}
	// An Address has its workload as field 1, its service as field 2.
	num, typ, n := protowire.ConsumeTag(wire)
	if n < 0 || typ != protowire.BytesType || num != protowire.Number(r.kind) {
		return false
	}
	in, m := protowire.ConsumeBytes(wire[n:])
	return m >= 0 && n+m == len(wire) && r.sum == digestOf(in)
}

// same says whether two have the same message.
func (r *resource) same(o *resource) bool { return r.size == o.size && r.sum == o.sum }

// published is called when km_res has the message.
func (r *resource) published() {
	if r.kind == Workload && !r.w.odd && !r.w.waypoint {
		r.content = nil
	}
}

// workload is the message of a workload that names a waypoint or is odd. It was encoded
// by newResource.
func (r *resource) workload() *wapi.Workload {
	w := new(wapi.Workload)
	if err := proto.Unmarshal(r.wire(), w); err != nil {
		panic(r.String() + ": " + err.Error())
	}
	return w
}

// decodeResource reads a message that newResource encoded.
func decodeResource(k Kind, wire []byte) (*resource, error) {
	m := k.message()
	if m == nil {
		return nil, fmt.Errorf("unknown kind %d", k)
	}
	if err := proto.Unmarshal(wire, m); err != nil {
		return nil, fmt.Errorf("decode %s: %w", k, err)
	}
	return resourceOf(m, wire), nil
}

// message is an empty one of a kind, nil where there is none such.
func (k Kind) message() proto.Message {
	switch k {
	case Workload:
		return new(wapi.Workload)
	case Service:
		return new(wapi.Service)
	case Policy:
		return new(security.Authorization)
	}
	return nil
}

// addressOf returns an address of 4 or 16 bytes, IPv4 also where it came mapped.
func addressOf(b []byte) netip.Addr {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.Addr{}
	}
	return a.Unmap()
}
