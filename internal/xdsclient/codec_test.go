// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// fromDelta is what protobuf makes of a delta response.
func fromDelta(m *discoveryv3.DeltaDiscoveryResponse) *response {
	r := &response{url: m.GetTypeUrl(), version: m.GetSystemVersionInfo(), nonce: m.GetNonce(), controlPlane: m.GetControlPlane().GetIdentifier()}
	for _, res := range m.GetResources() {
		if res.GetResource() != nil {
			r.raw = append(r.raw, xds.Raw{Name: res.GetName(), URL: res.GetResource().GetTypeUrl(), Value: res.GetResource().GetValue()})
			r.versions = append(r.versions, res.GetVersion())
		}
	}
	r.removed = slices.Clone(m.GetRemovedResources())
	for _, n := range m.GetRemovedResourceNames() {
		r.removed = append(r.removed, n.GetName())
	}
	return r
}

func fromWorld(m *discoveryv3.DiscoveryResponse) *response {
	r := &response{url: m.GetTypeUrl(), version: m.GetVersionInfo(), nonce: m.GetNonce(), controlPlane: m.GetControlPlane().GetIdentifier()}
	for _, a := range m.GetResources() {
		r.raw = append(r.raw, xds.Raw{URL: a.GetTypeUrl(), Value: a.GetValue()})
	}
	return r
}

// same compares what was read; the two ways to say what goes may be mixed.
func same(t testing.TB, got, want *response) {
	t.Helper()
	slices.Sort(got.removed)
	slices.Sort(want.removed)
	if got.url != want.url || got.version != want.version || got.nonce != want.nonce || got.controlPlane != want.controlPlane ||
		!slices.Equal(got.removed, want.removed) || !slices.Equal(got.versions, want.versions) ||
		!slices.EqualFunc(got.raw, want.raw, func(a, b xds.Raw) bool { return a.Name == b.Name && a.URL == b.URL && bytes.Equal(a.Value, b.Value) }) {
		t.Errorf("read  %+v\nwant %+v", got, want)
	}
}

func deltaResponse() *discoveryv3.DeltaDiscoveryResponse {
	return &discoveryv3.DeltaDiscoveryResponse{
		TypeUrl: ClusterType, Nonce: "n", SystemVersionInfo: "s", ControlPlane: &corev3.ControlPlane{Identifier: "me"},
		RemovedResources:     []string{"a", ""},
		RemovedResourceNames: []*discoveryv3.ResourceName{{Name: "b"}},
		Resources: []*discoveryv3.Resource{
			{Name: "c", Version: "1"}, // only prolongs a lease
			{Name: "d", Version: "2", Aliases: []string{"e"}, Resource: &anypb.Any{TypeUrl: ClusterType, Value: []byte("x")}},
			{Name: "f", Resource: &anypb.Any{}},
		},
	}
}

func worldResponse() *discoveryv3.DiscoveryResponse {
	return &discoveryv3.DiscoveryResponse{
		TypeUrl: ClusterType, Nonce: "n", VersionInfo: "s", Canary: true, ControlPlane: &corev3.ControlPlane{Identifier: "me"},
		Resources: []*anypb.Any{{TypeUrl: ClusterType, Value: []byte("x")}, {}},
	}
}

func TestResponsesAreReadAsProtobufReadsThem(t *testing.T) {
	for _, m := range []*discoveryv3.DeltaDiscoveryResponse{{}, deltaResponse()} {
		b, err := proto.Marshal(m)
		must(t, err)
		got, err := parseDelta(b)
		must(t, err)
		same(t, got, fromDelta(m))
	}
	for _, m := range []*discoveryv3.DiscoveryResponse{{}, worldResponse()} {
		b, err := proto.Marshal(m)
		must(t, err)
		got, err := parseWorld(b)
		must(t, err)
		same(t, got, fromWorld(m))
	}
}

// What a control plane calls things goes into requests again, which take UTF-8 alone.
func TestTextsOfAResponseAreUTF8(t *testing.T) {
	bad := "\x01\xff"
	for _, wire := range []string{"\x0a" + bad, "\x22" + bad, "\x2a" + bad, "\x32" + bad, "\x42\x03\x0a" + bad, "\x3a\x03\x0a" + bad,
		"\x12\x03\x0a" + bad, "\x12\x03\x1a" + bad, "\x12\x05\x12\x03\x0a" + bad} {
		if _, err := parseDelta([]byte(wire)); err == nil || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("delta %x: %v", wire, err)
		}
	}
	for _, wire := range []string{"\x0a" + bad, "\x22" + bad, "\x2a" + bad, "\x32\x03\x0a" + bad, "\x12\x03\x0a" + bad} {
		if _, err := parseWorld([]byte(wire)); err == nil || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("state of the world %x: %v", wire, err)
		}
	}
}

// Whatever protobuf can read is read the same way, be it in pieces.
func FuzzResponse(f *testing.F) {
	for _, m := range []proto.Message{deltaResponse(), worldResponse()} {
		b, err := proto.Marshal(m)
		must(f, err)
		f.Add(b)
	}
	f.Add([]byte("\x12\x08\x12\x02\x0a\x00\x12\x02\x12\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		delta, world := &discoveryv3.DeltaDiscoveryResponse{}, &discoveryv3.DiscoveryResponse{}
		got, err := parseDelta(data)
		if wantErr := proto.Unmarshal(data, delta); wantErr == nil {
			must(t, err)
			same(t, got, fromDelta(delta))
		}
		got, err = parseWorld(data)
		if wantErr := proto.Unmarshal(data, world); wantErr == nil {
			must(t, err)
			same(t, got, fromWorld(world))
		}
	})
}

// What is a few bytes on the wire must not become gigabytes here.
func TestTheResourcesOfAResponseAreBounded(t *testing.T) {
	field := func(num protowire.Number, body ...byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
	}
	for what, c := range map[string]struct {
		parse func([]byte) (*response, error)
		one   []byte
	}{
		"resources":                 {parseWorld, field(2)},
		"resources of delta":        {parseDelta, field(2, field(2)...)},
		"names that go":             {parseDelta, field(6)},
		"names with conditions, go": {parseDelta, field(8)},
	} {
		all := bytes.Repeat(c.one, mostResources)
		if r, err := c.parse(all); err != nil || len(r.raw)+len(r.removed) != mostResources {
			t.Errorf("%d %s: %v", mostResources, what, err)
		}
		if _, err := c.parse(append(all, c.one...)); err == nil || !strings.Contains(err.Error(), "more than 1048576") {
			t.Errorf("one more of %s: %v", what, err)
		}
	}
}
