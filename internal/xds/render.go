// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/core"
)

// Render returns m, a message of the store, as a JSON value in the form that Parse
// reads: with its kind, and addresses as strings. Numbers are json.Number.
func Render(m proto.Message) (map[string]any, error) {
	object, err := toTree(m)
	if err != nil {
		return nil, err
	}
	writeAddresses(object)
	object[kindMember] = string(m.ProtoReflect().Descriptor().Name())
	return object, nil
}

// toTree returns the JSON form of m as a tree.
func toTree(m proto.Message) (map[string]any, error) {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write %s as JSON: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		return nil, fmt.Errorf("read %s as JSON: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return object, nil
}

// writeAddresses replaces each address by a string; one that is none stays as it is.
func writeAddresses(tree any) {
	switch tree := tree.(type) {
	case []any:
		for _, v := range tree {
			writeAddresses(v)
		}
	case map[string]any:
		for k, v := range tree {
			if object, ok := v.(map[string]any); ok && k == addressMember {
				if s, ok := addressString(object); ok {
					tree[k] = s
				}
				continue
			}
			writeAddresses(v)
		}
	}
}

func addressString(object map[string]any) (string, bool) {
	raw, err := json.Marshal(object)
	if err != nil {
		return "", false
	}
	a := &core.SocketAddress{}
	if err := protojson.Unmarshal(raw, a); err != nil {
		return "", false
	}
	s, err := config.FormatAddress(a)
	if err != nil {
		return "", false
	}
	back, err := config.ParseAddress(s)
	return s, err == nil && proto.Equal(a, back)
}
