// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// response is the JSON form of either response; a member of the other one stays nil.
type response struct {
	typeURL   string
	resources []json.RawMessage
	removed   []string
	delta     bool
}

// parseJSON reads an Envoy response or own messages.
func parseJSON(path string, data []byte) ([]Document, error) {
	if bytes.TrimSpace(data)[0] == '[' {
		return parseOwn(path, data)
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, jsonError(data, err)
	}
	if !isResponse(members) {
		return parseOwn(path, data)
	}
	r, err := readResponse(members)
	if err != nil {
		return nil, err
	}
	d, err := r.document(path, data)
	if err != nil {
		return nil, err
	}
	return []Document{d}, nil
}

// Members of the responses in both spellings that protobuf's JSON form allows.
var responseMembers = map[string]string{
	"typeUrl": "type", "type_url": "type",
	"resources":        "resources",
	"removedResources": "removed", "removed_resources": "removed",
	"removedResourceNames": "removedNames", "removed_resource_names": "removedNames",
	"systemVersionInfo": "deltaVersion", "system_version_info": "deltaVersion",
	"versionInfo": "version", "version_info": "version",
	"nonce": "", "canary": "", "controlPlane": "", "control_plane": "",
	"resourceErrors": "", "resource_errors": "",
}

func isResponse(members map[string]json.RawMessage) bool {
	if _, own := members["kind"]; own {
		return false
	}
	for m := range members {
		switch responseMembers[m] {
		case "type", "resources", "removed", "removedNames", "deltaVersion":
			return true
		}
	}
	return false
}

func readResponse(members map[string]json.RawMessage) (*response, error) {
	r := &response{}
	for name, raw := range members {
		var err error
		switch responseMembers[name] {
		case "type":
			err = json.Unmarshal(raw, &r.typeURL)
		case "resources":
			err = json.Unmarshal(raw, &r.resources)
		case "removed":
			r.delta = true
			err = json.Unmarshal(raw, &r.removed)
		case "removedNames":
			r.delta = true
			var names []struct{ Name string }
			err = json.Unmarshal(raw, &names)
			for _, n := range names {
				r.removed = append(r.removed, n.Name)
			}
		case "deltaVersion":
			r.delta = true
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s", name, Clip(err.Error()))
		}
	}
	return r, nil
}

// head is what tells the JSON of an Any from that of a delta's Resource.
type head struct {
	Type     string          `json:"@type"`
	Resource json.RawMessage `json:"resource"`
	Name     string          `json:"name"`
}

func (r *response) document(path string, data []byte) (Document, error) {
	heads := make([]head, len(r.resources))
	for i, raw := range r.resources {
		if err := json.Unmarshal(raw, &heads[i]); err != nil {
			return Document{}, fmt.Errorf("resource %d: %s", i, Clip(err.Error()))
		}
		if heads[i].Type == "" {
			r.delta = true
		}
	}
	var d Document
	if err := d.begin(path, r.typeURL, r.delta); err != nil {
		return d, err
	}
	odd, first := 0, ""
	for i, raw := range r.resources {
		h := heads[i]
		if r.delta && h.Type == "" {
			if h.Resource == nil {
				continue // prolongs a lease
			}
			raw = h.Resource
			h.Type = ""
			if err := json.Unmarshal(raw, &h); err != nil {
				return d, fmt.Errorf("resource %d: %s", i, Clip(err.Error()))
			}
		}
		m, err := d.add(h.Type)
		if err != nil {
			return d, fmt.Errorf("resource %d: %w", i, err)
		}
		ignored, err := envoyJSON(raw, m)
		if err != nil {
			return d, fmt.Errorf("resource %d %s: %s", i, Clip(h.Name), inFile(data, raw, tidy(err)))
		}
		if ignored == "" {
			continue
		}
		if d.Kind == KindAuthorization { // see decodeBinary
			return d, fmt.Errorf("resource %d %s: %s", i, Clip(h.Name), inFile(data, raw, ignored))
		}
		// To find its place takes time; the others are most likely the same.
		if odd++; odd == 1 {
			first = fmt.Sprintf("%s: resource %d %s: %s: it is ignored", path, i, Clip(h.Name), inFile(data, raw, ignored))
		}
	}
	if odd > 1 {
		first += fmt.Sprintf(", and so in %d more", odd-1)
	}
	if odd > 0 {
		d.Warnings = append(d.Warnings, first)
	}
	return d, d.end(r.removed)
}

// jsonError adds line and column to an error of encoding/json about data.
func jsonError(data []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return errors.New(Clip(err.Error()))
	}
	line, column := position(data, int(syntax.Offset))
	return fmt.Errorf("line %d, column %d: %s", line, column, Clip(err.Error()))
}

var place = regexp.MustCompile(`\(line (\d+):(\d+)\)`)

// inFile turns the place in msg, which counts from the beginning of part, into one
// that counts from the beginning of data.
func inFile(data, part []byte, msg string) string {
	at := place.FindStringSubmatch(msg)
	start := bytes.Index(data, part)
	if at == nil || start < 0 {
		return msg
	}
	line, column := position(data, start)
	l, lerr := strconv.Atoi(at[1])
	c, cerr := strconv.Atoi(at[2])
	if lerr != nil || cerr != nil {
		return msg
	}
	if l > 1 {
		column = 0
	}
	return place.ReplaceAllString(msg, fmt.Sprintf("(line %d:%d)", line+l-1, column+c))
}

// position returns the line, from 1, of the byte at offset, and how many bytes of
// that line stand before it.
func position(data []byte, offset int) (line, column int) {
	offset = min(max(offset, 0), len(data))
	before := data[:offset]
	return bytes.Count(before, []byte("\n")) + 1, offset - (bytes.LastIndexByte(before, '\n') + 1)
}
