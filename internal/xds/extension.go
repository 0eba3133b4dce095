// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// envoyJSON reads the JSON form of an Any that holds a resource into m. Fields that
// this build does not know are left out, as those of binary input are, but told:
// ignored names the first.
func envoyJSON(raw []byte, m proto.Message) (ignored string, err error) {
	raw, err = reduceExtensions(raw)
	if err != nil {
		return "", err
	}
	o := protojson.UnmarshalOptions{Resolver: extensions{}}
	var a anypb.Any
	err = o.Unmarshal(raw, &a)
	if err != nil && strings.Contains(err.Error(), "unknown field") {
		// Not so from the start: it would take an unknown name of an enum for
		// the enum's first one.
		ignored = tidy(err)
		o.DiscardUnknown = true
		a.Reset()
		err = o.Unmarshal(raw, &a)
	}
	if err != nil {
		return "", err
	}
	return ignored, proto.Unmarshal(a.GetValue(), m)
}

// extensions resolves resources and the typed extensions that are looked into; any
// other is an empty message, so that only its type URL stays.
type extensions struct{}

func (extensions) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	name := typeName(url)
	if name == "" {
		return nil, protoregistry.NotFound
	}
	if t, ok := resourceTypes[name]; ok {
		return t.make().ProtoReflect().Type(), nil
	}
	if t, ok := extensionTypes[name]; ok {
		return t, nil
	}
	return (*corev3.AggregatedConfigSource)(nil).ProtoReflect().Type(), nil
}

var extensionTypes = map[string]protoreflect.MessageType{
	tcpProxyType:          (*tcpv3.TcpProxy)(nil).ProtoReflect().Type(),
	connectionManagerType: (*hcmv3.HttpConnectionManager)(nil).ProtoReflect().Type(),
}

func (extensions) FindMessageByName(protoreflect.FullName) (protoreflect.MessageType, error) {
	return nil, protoregistry.NotFound
}

func (extensions) FindExtensionByName(protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}

func (extensions) FindExtensionByNumber(protoreflect.FullName, protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}

// object is a JSON object or array that is open while tokens are read.
type object struct {
	start   int
	array   bool
	atValue bool // of an object: a member's name was read
	atType  bool // the name was "@type"
	url     string
}

const typeMember = "@type"

// reduceExtensions returns raw with {"@type": …} in place of each typed extension that
// is not looked into. Every byte that stays keeps its line.
func reduceExtensions(raw []byte) ([]byte, error) {
	out := bytes.Clone(raw)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var open []object
	for first := true; first || len(open) > 0; first = false {
		token, err := dec.Token()
		if err != nil {
			return nil, jsonError(raw, err)
		}
		top := len(open) - 1
		switch token {
		case json.Delim('{'), json.Delim('['):
			open = append(open, object{start: int(dec.InputOffset()) - 1, array: token == json.Delim('[')})
			continue
		case json.Delim('}'), json.Delim(']'):
			if o := open[top]; o.url != "" && !looksInto(o.url) {
				if err := reduce(out[o.start:dec.InputOffset()], o.url); err != nil {
					return nil, err
				}
			}
			open = open[:top]
			top--
		default:
			if s, ok := token.(string); ok && top >= 0 && !open[top].array {
				o := &open[top]
				if !o.atValue {
					o.atValue, o.atType = true, s == typeMember
					continue
				}
				if o.atType {
					o.url = s
				}
			}
		}
		if top >= 0 {
			open[top].atValue = false
		}
	}
	return out, nil
}

// looksInto says whether what stands under that type URL is read.
func looksInto(url string) bool {
	name := typeName(url)
	return resourceTypes[name].make != nil || extensionTypes[name] != nil
}

// reduce overwrites the JSON of an extension with its type and blanks.
func reduce(part []byte, url string) error {
	var short bytes.Buffer
	enc := json.NewEncoder(&short)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]string{typeMember: url}); err != nil {
		return fmt.Errorf("write type %s: %w", Clip(url), err)
	}
	text := bytes.TrimSpace(short.Bytes())
	if len(text) > len(part) {
		return errors.New("unreadable type " + Clip(url))
	}
	// The line feeds move behind the type, which is where an error can be.
	lines := bytes.Count(part, []byte("\n"))
	for i := range part {
		part[i] = ' '
	}
	copy(part, text)
	for i := 0; i < lines && len(part)-1-i >= len(text); i++ {
		part[len(part)-1-i] = '\n'
	}
	return nil
}
