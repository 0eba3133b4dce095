// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/admin"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
	"github.com/kmesh-net/kmesh-node/proto/endpoint"
	"github.com/kmesh-net/kmesh-node/proto/listener"
	"github.com/kmesh-net/kmesh-node/proto/route"
)

// kindMember tells own messages apart; none of them has a field of that name.
const kindMember = "kind"

var ownKinds = map[Kind]func() proto.Message{
	KindCluster:    func() proto.Message { return new(cluster.Cluster) },
	KindAssignment: func() proto.Message { return new(endpoint.ClusterLoadAssignment) },
	KindListener:   func() proto.Message { return new(listener.Listener) },
	KindRoute:      func() proto.Message { return new(route.RouteConfiguration) },
	KindConfigDump: func() proto.Message { return new(admin.ConfigDump) },
}

// yamlDocument separates the documents of a YAML stream.
var yamlDocument = regexp.MustCompile(`(?m)^---(?:[ \t\r].*)?$`)

func parseYAML(path string, data []byte) ([]Document, error) {
	var docs []Document
	parts := yamlDocument.Split(string(data), -1)
	for i, part := range parts {
		object, err := yaml.YAMLToJSONStrict([]byte(part))
		if err != nil {
			return nil, fmt.Errorf("document %d: %s", i, Clip(err.Error()))
		}
		if string(object) == "null" {
			continue
		}
		if object[0] != '{' && object[0] != '[' {
			return nil, fmt.Errorf("document %d: neither an Envoy response nor JSON nor YAML of kmesh-node's messages", i)
		}
		name := path
		if len(parts) > 1 {
			name = fmt.Sprintf("%s#%d", path, i)
		}
		more, err := parseJSON(name, object)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", i, err)
		}
		docs = append(docs, more...)
	}
	if len(docs) == 0 {
		return nil, errors.New("it is empty")
	}
	return docs, nil
}

// parseOwn reads one own message, or an array of them.
func parseOwn(path string, data []byte) ([]Document, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, jsonError(data, err)
	}
	if rest := bytes.TrimSpace(data[dec.InputOffset():]); len(rest) > 0 {
		line, column := position(data, int(dec.InputOffset()))
		return nil, fmt.Errorf("line %d, column %d: more follows; several messages make an array", line, column)
	}
	list, isList := tree.([]any)
	if !isList {
		list = []any{tree}
	}
	var docs []Document
	for i, item := range list {
		name := path
		if isList {
			name = fmt.Sprintf("%s#%d", path, i)
		}
		d, err := ownDocument(name, item)
		if err != nil && isList {
			err = fmt.Errorf("item %d: %w", i, err)
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, nil
}

func ownDocument(path string, item any) (Document, error) {
	object, ok := item.(map[string]any)
	if !ok {
		return Document{}, errors.New("not an object")
	}
	kind, err := ownKind(object)
	if err != nil {
		return Document{}, err
	}
	delete(object, kindMember)
	if err := readAddresses(object); err != nil {
		return Document{}, fmt.Errorf("%s %s: %w", kind, nameIn(object), err)
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return Document{}, fmt.Errorf("write %s as JSON: %w", kind, err)
	}
	m := ownKinds[kind]()
	if err := protojson.Unmarshal(raw, m); err != nil {
		// The place is one in raw, which nobody has seen.
		msg := strings.TrimSpace(place.ReplaceAllString(tidy(err), ""))
		return Document{}, fmt.Errorf("%s %s: %s", kind, nameIn(object), strings.TrimPrefix(msg, ": "))
	}
	return Document{Path: path, Kind: kind, Resources: flatten(m)}, nil
}

func ownKind(object map[string]any) (Kind, error) {
	switch kind := object[kindMember].(type) {
	case string:
		if _, ok := ownKinds[Kind(kind)]; ok {
			return Kind(kind), nil
		}
		return "", fmt.Errorf("kind %q is none of Cluster, ClusterLoadAssignment, Listener, RouteConfiguration, ConfigDump", Clip(kind))
	case nil:
		for _, m := range []string{"staticResources", "static_resources", "dynamicResources", "dynamic_resources"} {
			if _, ok := object[m]; ok {
				return KindConfigDump, nil
			}
		}
		if url, ok := object["@type"].(string); ok {
			return "", fmt.Errorf("a resource of type %s outside a response: put it into one, as resources[0]", Clip(typeName(url)))
		}
		return "", errors.New(`neither an Envoy response (no typeUrl, no resources) nor a message of kmesh-node (no "kind")`)
	}
	return "", errors.New(`"kind" is not a string`)
}

// flatten returns the resources in an own message.
func flatten(m proto.Message) []proto.Message {
	dump, ok := m.(*admin.ConfigDump)
	if !ok {
		return []proto.Message{m}
	}
	var all []proto.Message
	for _, r := range []*admin.ConfigResources{dump.GetStaticResources(), dump.GetDynamicResources()} {
		for _, c := range r.GetClusterConfigs() {
			all = append(all, c)
		}
		for _, c := range r.GetRouteConfigs() {
			all = append(all, c)
		}
		for _, l := range r.GetListenerConfigs() {
			all = append(all, l)
		}
	}
	return all
}

// nameIn returns the name in the JSON form of an own message.
func nameIn(object map[string]any) string {
	for _, m := range []string{"name", "clusterName", "cluster_name"} {
		if s, ok := object[m].(string); ok {
			return Clip(s)
		}
	}
	return "without a name"
}

// addressMember is where own messages hold a SocketAddress, and nothing else.
const addressMember = "address"

// readAddresses replaces each address that is a string by its message form.
func readAddresses(tree any) error {
	switch tree := tree.(type) {
	case []any:
		for _, v := range tree {
			if err := readAddresses(v); err != nil {
				return err
			}
		}
	case map[string]any:
		for k, v := range tree {
			s, ok := v.(string)
			if k != addressMember || !ok {
				if err := readAddresses(v); err != nil {
					return err
				}
				continue
			}
			a, err := config.ParseAddress(s)
			if err != nil {
				return fmt.Errorf("address: %w", err)
			}
			object, err := toTree(a)
			if err != nil {
				return err
			}
			tree[k] = object
		}
	}
	return nil
}
