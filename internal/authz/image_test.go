// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"bytes"
	"net/netip"
	"testing"
	"unsafe"

	"github.com/kmesh-net/kmesh-node/proto/security"
)

// The numbers that programs see.
func TestLayout(t *testing.T) {
	if got := portSlot(54321); got != slotOf54321 {
		t.Errorf("portSlot(54321) = %d, KW_PORT_SLOT says %d", got, slotOf54321)
	}
	for what, sizes := range map[string][2]uintptr{
		"image":  {unsafe.Sizeof(imageHead{}), slotSize},
		"vector": {unsafe.Sizeof(vectorHead{}), slotSize},
		"block":  {unsafe.Sizeof(block{}), slotSize},
		"ranges": {2 * unsafe.Sizeof(rangeEntry{}), slotSize},
		"ports":  {portCells * unsafe.Sizeof(portCell{}), slotSize},
		"sets":   {8 * unsafe.Sizeof(setEntry{}), slotSize},
		"words":  {16 * unsafe.Sizeof(word(0)), slotSize},
	} {
		if sizes[0] != sizes[1] {
			t.Errorf("%s: %d bytes, want %d", what, sizes[0], sizes[1])
		}
	}
}

// With one slot for each value of the hash no port lacks a cell.
func TestAllPortsFit(t *testing.T) {
	cells := make([]portCell, 65536)
	for i := range cells {
		cells[i].port = word(i)
	}
	if !fits(cells, 65535) {
		t.Error("65536 ports do not fit into 65536 slots")
	}
}

// A port each of a policy of its own: the table of ports grows.
func TestManyPorts(t *testing.T) {
	in := &Input{Identities: []Identity{{}}, Sets: []Set{{}}}
	for i := range 3000 {
		in.Policies = append(in.Policies, Policy{uint32(i + 1),
			denyOf("p", group([]*security.Match{{DestinationPorts: []uint32{uint32(i * 17)}}}))})
	}
	img, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	for port := range 65536 {
		want := Decision{Allowed: true}
		if port%17 == 0 && port/17 < 3000 {
			want = Decision{Policy: uint32(port/17 + 1)}
		}
		p := from(nobody, "10.0.0.1", "10.0.0.1", uint16(port))
		if got := img.Decide(0, 0, p); got != want {
			t.Fatalf("port %d: %+v, want %+v", port, got, want)
		}
	}
}

// The same input makes the same image; what lies behind the tables reads as index 0; and
// a half that holds nothing allows.
func TestImage(t *testing.T) {
	d := newDice(4)
	in := d.large(600)
	a, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two images of one input differ")
	}
	a.check(t)
	half := append(bytes.Clone(a.Bytes()), make([]byte, 4*slotSize)...)
	read := ImageOf(half)
	zero := Packet{Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.2"), Port: 80}
	for range 1000 {
		_, _, p := d.packet(in)
		if got, want := read.Decide(1<<31, 1<<31, p), a.Decide(0, 0, p); got != want {
			t.Errorf("indexes behind the tables: %+v, want %+v as for 0", got, want)
		}
	}
	for _, empty := range []*Image{{}, ImageOf(make([]byte, 4*slotSize))} {
		if got := empty.Decide(0, 0, zero); !got.Allowed {
			t.Errorf("an empty half says %+v", got)
		}
	}
}

// check says whether each vector knows which of its row slots are empty: a slot that is
// called full would only cost time.
func (img *Image) check(t *testing.T) {
	t.Helper()
	h := &entries[imageHead](img, 0, 1)[0]
	vectors := map[int][]uint32{}
	for _, e := range entries[setEntry](img, uint32(h.psets), int(h.n_psets)) {
		vectors[dimSet] = append(vectors[dimSet], uint32(e.vector))
	}
	for _, v := range entries[word](img, uint32(h.identities), int(h.n_identities)) {
		vectors[dimIdentity] = append(vectors[dimIdentity], uint32(v))
	}
	for _, e := range entries[rangeEntry](img, uint32(h.sources), int(h.n_sources)) {
		vectors[dimSource] = append(vectors[dimSource], uint32(e.vector))
	}
	for _, row := range entries[[portCells]portCell](img, uint32(h.ports), int(h.port_mask)+1) {
		for _, e := range row {
			if e.vector != 0 {
				vectors[dimPort] = append(vectors[dimPort], uint32(e.vector))
			}
		}
	}
	slots := (int(h.rows) + rowsSlot - 1) / rowsSlot
	for d, all := range vectors {
		def := img.defaultOf(h, d)
		for _, v := range append(all, def) {
			head := entries[vectorHead](img, v, 1)[0]
			for k := range 64 {
				full := k < slots && *img.rowSlot(v, def, k) != block{}
				if said := head.nonempty&(1<<k) != 0; said != full {
					t.Fatalf("dimension %d, vector %d, row slot %d: full is %v, nonempty says %v", d, v, k, full, said)
				}
			}
		}
	}
}

// An Input without identities and sets is one of nobody and of unknown pods.
func TestNobody(t *testing.T) {
	strict := &security.Match{NotPrincipals: []*security.StringMatch{{MatchType: &security.StringMatch_Prefix{}}}}
	img, err := Compile(&Input{
		Policies:   []Policy{{1, denyOf("p", group([]*security.Match{strict}))}, {2, denyOf("q", group([]*security.Match{{Namespaces: []*security.StringMatch{exact("a")}}}))}},
		Identities: nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := img.Decide(0, 0, from(nobody, "10.0.0.1", "10.0.0.2", 80)); got != (Decision{Policy: 1}) {
		t.Errorf("%+v, want a denial by policy 1", got)
	}
}

// everySecond is one policy of the ports 0, 2, 4 up to 2000: the others are more.
func everySecond() *Input {
	m := &security.Match{}
	for p := range uint32(1000) {
		m.DestinationPorts = append(m.DestinationPorts, 2*p)
	}
	return &Input{Policies: []Policy{{1, denyOf("p", group([]*security.Match{m}))}}, Identities: []Identity{{}}, Sets: []Set{{}}}
}

// Equal conditions cost one vector, in whatever dimension they are.
func TestSize(t *testing.T) {
	for _, c := range []struct {
		name        string
		in          *Input
		rows, slots int
	}{
		{"no policy", cluster(0, 1000, security.Action_DENY, false), 0, 3},
		{"1000 DENY of a principal", cluster(1000, 1000, security.Action_DENY, false), 1000, 2200},
		{"1000 ALLOW of a principal", cluster(1000, 1000, security.Action_ALLOW, false), 1, 80},
		{"1000 DENY of a principal and a workload", cluster(1000, 1000, security.Action_DENY, true), 1000, 2300},
		{"every second port", everySecond(), 1, 300},
		{"1000 with ranges and ports", mixed(1000, 1000), 1000, 4000},
	} {
		img, err := Compile(c.in)
		if err != nil {
			t.Fatal(err)
		}
		rows := int(entries[imageHead](img, 0, 1)[0].rows)
		if rows > c.rows || len(img.Slots) > c.slots {
			t.Errorf("%s: %d rows, %d slots, want at most %d and %d", c.name, rows, len(img.Slots), c.rows, c.slots)
		}
		t.Logf("%s: %d rows, %d slots", c.name, rows, len(img.Slots))
	}
}
