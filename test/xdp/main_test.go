// SPDX-License-Identifier: Apache-2.0

package xdp

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/kmesh-net/kmesh-node/internal/authz"
	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/proto/security"
)

const object = "../../build/bpf/xdpauth.bpf.o"

// Verdicts of XDP.
const (
	drop     = 1
	pass     = 2
	back     = 3
	redirect = 4
)

// TestMain keeps what libbpf says to itself; the errors say what matters.
func TestMain(m *testing.M) {
	libbpfgo.SetLoggerCbs(libbpfgo.Callbacks{Log: func(int, string) {}})
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// auth is xdpauth with maps of its own.
type auth struct {
	t     testing.TB
	mod   *libbpfgo.Module
	prog  *libbpfgo.BPFProg
	image []byte // km_policy
	state *pstate
}

func load(t testing.TB, flows int) *auth {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it loads BPF programs")
	}
	mod, err := libbpfgo.NewModuleFromFileArgs(libbpfgo.NewModuleArgs{BPFObjPath: object, SkipMemlockBump: true})
	must(t, err)
	t.Cleanup(mod.Close)
	a := &auth{t: t, mod: mod}
	must(t, a.mapOf("km_flow").SetMaxEntries(uint32(flows)))
	must(t, mod.BPFLoadObject())
	a.prog, err = mod.GetProgram("xdpauth")
	must(t, err)
	a.image = a.memory("km_policy", 2<<halfShift*64)
	a.state = (*pstate)(unsafe.Pointer(&a.memory("km_pstate", os.Getpagesize())[0]))
	a.state.half_shift = halfShift
	a.denied(0)
	return a
}

func (a *auth) mapOf(name string) *libbpfgo.BPFMap {
	a.t.Helper()
	m, err := a.mod.GetMap(name)
	must(a.t, err)
	return m
}

func (a *auth) fd(name string) int { return a.mapOf(name).FileDescriptor() }

func (a *auth) memory(name string, size int) []byte {
	a.t.Helper()
	b, err := bpfmap.Map(a.fd(name), size)
	must(a.t, err)
	a.t.Cleanup(func() { must(a.t, unix.Munmap(b)) })
	return b
}

// apply makes the policies those in use, as the writer does.
func (a *auth) apply(in *authz.Input) {
	a.t.Helper()
	img, err := authz.Compile(in)
	must(a.t, err)
	half := uint64(a.state.word&1) ^ 1
	to := a.image[half<<halfShift*64:]
	clear(to[:64])
	if copy(to, img.Bytes()) < len(img.Bytes()) {
		a.t.Fatalf("image of %d slots", len(img.Slots))
	}
	a.state.word = wide(uint64(a.state.word)>>1+1)<<1 | wide(half)
	for _, p := range in.Policies {
		a.denied(p.ID)
	}
}

// rejudge raises the generation of verdicts.
func (a *auth) rejudge() { a.state.word += 2 }

func (a *auth) peer(addr netip.Addr, p peer) {
	a.t.Helper()
	must(a.t, bpfmap.Update(a.fd("km_peer"), ipKey(addr), sealed(&p, addr)))
}

// denied is a policy's counter, made when it is not there.
func (a *auth) denied(id uint32) uint64 {
	a.t.Helper()
	key, value := binary.NativeEndian.AppendUint32(nil, id), make([]byte, 8)
	err := bpfmap.Lookup(a.fd("km_denied"), key, value)
	if errors.Is(err, syscall.ENOENT) {
		err = bpfmap.Insert(a.fd("km_denied"), key, value)
	}
	must(a.t, err)
	return binary.NativeEndian.Uint64(value)
}

func (a *auth) stats() (sum stats) {
	a.t.Helper()
	n, err := libbpfgo.NumPossibleCPUs()
	must(a.t, err)
	b := make([]byte, n*int(unsafe.Sizeof(sum)))
	must(a.t, bpfmap.Lookup(a.fd("km_wstats"), make([]byte, 4), b))
	for _, s := range unsafe.Slice((*stats)(unsafe.Pointer(&b[0])), n) {
		sum.unparsed += s.unparsed
		sum.unsealed += s.unsealed
		sum.reread += s.reread
		sum.exempted += s.exempted
	}
	return sum
}

// forget makes km_flow empty.
func (a *auth) forget(flows int) {
	a.t.Helper()
	for i := range flows {
		must(a.t, bpfmap.Update(a.fd("km_flow"), binary.NativeEndian.AppendUint32(nil, uint32(i)), make([]byte, flowBytes)))
	}
}

// run gives a frame to the program.
func (a *auth) run(frame []byte) (verdict uint32, out []byte) {
	a.t.Helper()
	o := libbpfgo.RunOpts{DataIn: frame, DataSizeIn: uint32(len(frame)), DataOut: make([]byte, 1<<16), DataSizeOut: 1 << 16, Repeat: 1}
	must(a.t, a.prog.Run(&o))
	return o.RetVal, o.DataOut
}

// policies are Authorizations in JSON, numbered from 1. They apply to the pods of set 1
// (namespace "to") by their scope.
func policies(t testing.TB, texts ...string) *authz.Input {
	t.Helper()
	in := &authz.Input{
		Identities: []authz.Identity{{}, alice, bob},
		Sets:       []authz.Set{{}, {Known: true, Namespace: "to", Selected: []string{"to/own"}}},
	}
	for i, text := range texts {
		p := &security.Authorization{}
		must(t, protojson.Unmarshal([]byte(text), p))
		if p.Name == "" {
			p.Name, p.Namespace = fmt.Sprint("p", i+1), "to"
		}
		must(t, authz.Validate(p))
		in.Policies = append(in.Policies, authz.Policy{ID: uint32(i + 1), Authorization: p})
	}
	return in
}

var (
	alice = authz.Identity{TrustDomain: "cluster.local", Namespace: "from", ServiceAccount: "alice"}
	bob   = authz.Identity{TrustDomain: "cluster.local", Namespace: "from", ServiceAccount: "bob"}
)

// Policies in common use.
const (
	denyAll   = `{"scope":"GLOBAL","action":"DENY","groups":[{"rules":[{"matches":[{}]}]}]}`
	allowNone = `{"scope":"NAMESPACE","action":"ALLOW"}`
)

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// denyPort denies a port to all.
func denyPort(port int) string {
	return fmt.Sprintf(`{"scope":"GLOBAL","action":"DENY","groups":[{"rules":[{"matches":[{"destination_ports":[%d]}]}]}]}`, port)
}

// denyFrom denies everything to a principal.
func denyFrom(i authz.Identity) string {
	return `{"scope":"NAMESPACE","action":"DENY","groups":[{"rules":[{"matches":[{"principals":[{"exact":` + quote(i.Principal()) + `}]}]}]}]}`
}

// time gives a frame to the program again and again: ns per run.
func (a *auth) time(f frame, repeat int) float64 {
	a.t.Helper()
	b := f.bytes()
	o := libbpfgo.RunOpts{DataIn: b, DataSizeIn: uint32(len(b)), DataOut: make([]byte, 1<<16), DataSizeOut: 1 << 16, Repeat: repeat}
	for {
		err := a.prog.Run(&o)
		if errors.Is(err, syscall.EINTR) {
			continue // Go's scheduler sends signals
		}
		must(a.t, err)
		break
	}
	if o.RetVal != pass {
		a.t.Fatalf("verdict %d, want pass", o.RetVal)
	}
	return float64(o.Duration.Nanoseconds())
}
