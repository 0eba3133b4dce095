// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// codec writes requests as protobuf does, and leaves responses as they came: resources
// are parts of what was received, and not copied out of it. A first push is tens of
// megabytes.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name is that of the codec which is the usual one.
func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("encode a request: %T is no message", v)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode a request: %w", err)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("take a response: %T holds no bytes", v)
	}
	*b = data.Materialize()
	return nil
}

// mostResources bounds what one response is about: an empty one has a few bytes on the
// wire and twenty times that here.
const mostResources = 1 << 20

// room returns an error where a response is about too much already.
func (r *response) room() error {
	if len(r.raw)+len(r.removed) < mostResources {
		return nil
	}
	return fmt.Errorf("read a response of %s: it names more than %d resources", shortType(r.url), mostResources)
}

// parseWorld reads a DiscoveryResponse.
func parseWorld(data []byte) (*response, error) {
	r := &response{}
	return r, eachField(data, func(num protowire.Number, b []byte) error {
		switch num {
		case 1:
			return text(&r.version, b)
		case 2:
			if err := r.room(); err != nil {
				return err
			}
			r.raw = append(r.raw, xds.Raw{})
			return parseAny(&r.raw[len(r.raw)-1], b)
		case 4:
			return text(&r.url, b)
		case 5:
			return text(&r.nonce, b)
		case 6:
			return eachText(b, 1, &r.controlPlane)
		}
		return nil
	})
}

// parseDelta reads a DeltaDiscoveryResponse.
func parseDelta(data []byte) (*response, error) {
	r := &response{versions: []string{}}
	return r, eachField(data, func(num protowire.Number, b []byte) error {
		switch num {
		case 1:
			return text(&r.version, b)
		case 2:
			return parseResource(r, b)
		case 4:
			return text(&r.url, b)
		case 5:
			return text(&r.nonce, b)
		case 6, 8:
			if err := r.room(); err != nil {
				return err
			}
			r.removed = append(r.removed, "")
			name := &r.removed[len(r.removed)-1]
			if num == 6 {
				return text(name, b)
			}
			return eachText(b, 1, name)
		case 7:
			return eachText(b, 1, &r.controlPlane)
		}
		return nil
	})
}

// parseResource adds a Resource of a delta response. One without content only prolongs a
// lease.
func parseResource(r *response, data []byte) error {
	var raw xds.Raw
	version, content := "", false
	err := eachField(data, func(num protowire.Number, b []byte) error {
		switch num {
		case 1:
			return text(&version, b)
		case 2:
			content = true
			return parseAny(&raw, b)
		case 3:
			return text(&raw.Name, b)
		}
		return nil
	})
	if err == nil && content {
		err = r.room()
	}
	if err == nil && content {
		r.raw, r.versions = append(r.raw, raw), append(r.versions, version)
	}
	return err
}

func parseAny(raw *xds.Raw, data []byte) error {
	return eachField(data, func(num protowire.Number, b []byte) error {
		switch num {
		case 1:
			return text(&raw.URL, b)
		case 2:
			raw.Value = b
		}
		return nil
	})
}

// eachField calls do for each field of bytes or text; others mean nothing here, but
// must be well formed.
func eachField(data []byte, do func(protowire.Number, []byte) error) error {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("read a response: %w", protowire.ParseError(n))
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(num, typ, data); n < 0 {
			return fmt.Errorf("read a response: field %d: %w", num, protowire.ParseError(n))
		}
		if typ == protowire.BytesType {
			b, _ := protowire.ConsumeBytes(data)
			if err := do(num, b[:len(b):len(b)]); err != nil {
				return err
			}
		}
		data = data[n:]
	}
	return nil
}

// eachText reads the text at num of a message.
func eachText(data []byte, num protowire.Number, s *string) error {
	return eachField(data, func(n protowire.Number, b []byte) error {
		if n != num {
			return nil
		}
		return text(s, b)
	})
}

func text(s *string, b []byte) error {
	if !utf8.Valid(b) {
		return fmt.Errorf("read a response: %q is not UTF-8", clip(string(b), 100))
	}
	*s = string(b)
	return nil
}
