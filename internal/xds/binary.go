// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The envelope is read by hand: whether it is a DiscoveryResponse or a
// DeltaDiscoveryResponse, which share their numbers up to 5, shows only by what is in it,
// and an error names the byte.
const (
	fieldVersion    = 1
	fieldResources  = 2 // Any; delta: Resource
	fieldCanary     = 3
	fieldTypeURL    = 4
	fieldNonce      = 5
	fieldControl    = 6 // ControlPlane; delta: removed_resources
	fieldErrors     = 7 // ResourceError; delta: ControlPlane
	fieldGone       = 8 // delta: removed_resource_names
	fieldDeltaError = 9 // delta: ResourceError

	// In Any.
	fieldAnyURL   = 1
	fieldAnyValue = 2
	// In Resource.
	fieldResourceAny = 2
	// In ResourceName, which removed_resource_names holds.
	fieldResourceName = 1
	// In ControlPlane.
	fieldIdentifier = 1
)

// envelope is either response before its resources are decoded.
type envelope struct {
	delta     bool
	typeURL   string
	resources []wireAny
	removed   []string
}

type wireAny struct {
	url    string
	value  []byte
	offset int // in the file
}

var errNotEnvelope = errors.New("not an Envoy response")

// readEnvelope splits a binary response. An error means that data is something
// else, or damaged; it says at which byte.
func readEnvelope(data []byte) (*envelope, error) {
	e := &envelope{}
	var raw []field
	err := eachField(data, func(f field) error {
		switch {
		case f.num == fieldCanary && f.typ == protowire.VarintType:
			return nil
		case f.num < fieldVersion || f.num > fieldDeltaError || f.typ != protowire.BytesType:
			return fmt.Errorf("byte %d: %w: field %d of wire type %d", f.offset, errNotEnvelope, f.num, f.typ)
		}
		switch f.num {
		case fieldTypeURL:
			e.typeURL = string(f.bytes)
		case fieldResources, fieldControl:
			raw = append(raw, f)
		case fieldGone:
			e.delta = true
			name, err := onlyString(f, fieldResourceName)
			if err != nil {
				return err
			}
			e.removed = append(e.removed, name)
		case fieldDeltaError:
			e.delta = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := e.readResources(raw); err != nil {
		return nil, err
	}
	if !strings.Contains(e.typeURL, "/") && len(e.resources) == 0 {
		return nil, fmt.Errorf("%w: it names no type", errNotEnvelope)
	}
	return e, nil
}

// readResources decides which of the two responses it is, then reads the fields
// that mean different things in them.
func (e *envelope) readResources(raw []field) error {
	for _, f := range raw {
		switch f.num {
		case fieldResources:
			// An Any begins with a string that has a slash in it, a Resource
			// has a message at number 2 and, but for rare cases, a name at 3.
			if _, err := readAny(f.bytes, f.offset); err != nil {
				e.delta = true
			}
		case fieldControl:
			if !isControlPlane(f.bytes) {
				e.delta = true
			}
		}
	}
	for _, f := range raw {
		switch {
		case f.num == fieldControl && e.delta:
			if !utf8.Valid(f.bytes) {
				return fmt.Errorf("byte %d: %w: a removed name is not UTF-8", f.offset, errNotEnvelope)
			}
			e.removed = append(e.removed, string(f.bytes))
		case f.num == fieldResources && e.delta:
			if err := e.addDelta(f); err != nil {
				return err
			}
		case f.num == fieldResources:
			a, err := readAny(f.bytes, f.offset)
			if err != nil {
				return err
			}
			e.resources = append(e.resources, a)
		}
	}
	return nil
}

// addDelta adds what a Resource carries. One without a resource only prolongs a
// lease: nothing changes.
func (e *envelope) addDelta(f field) error {
	return eachField(f.bytes, func(in field) error {
		if in.num != fieldResourceAny || in.typ != protowire.BytesType {
			return nil
		}
		a, err := readAny(in.bytes, f.offset+in.offset)
		if err != nil {
			return err
		}
		e.resources = append(e.resources, a)
		return nil
	})
}

func readAny(data []byte, offset int) (wireAny, error) {
	a := wireAny{offset: offset}
	err := eachField(data, func(f field) error {
		if f.typ != protowire.BytesType {
			return fmt.Errorf("byte %d: %w: a resource is no Any", offset+f.offset, errNotEnvelope)
		}
		switch f.num {
		case fieldAnyURL:
			a.url = string(f.bytes)
		case fieldAnyValue:
			a.value = f.bytes
			a.offset = offset + f.offset
		default:
			return fmt.Errorf("byte %d: %w: a resource is no Any", offset+f.offset, errNotEnvelope)
		}
		return nil
	})
	if err == nil && (typeName(a.url) == "" || !utf8.ValidString(a.url)) {
		err = fmt.Errorf("byte %d: %w: a resource without a type", offset, errNotEnvelope)
	}
	return a, err
}

// isControlPlane tells ControlPlane{identifier}, which begins with a line feed, from
// the name of a resource, which does not. Many a name, "80" for one, is a well
// formed message all the same.
func isControlPlane(b []byte) bool {
	return eachField(b, func(f field) error {
		if f.num != fieldIdentifier || f.typ != protowire.BytesType {
			return errNotEnvelope
		}
		return nil
	}) == nil
}

// onlyString reads a message with a string at num; other fields are passed over,
// but only if they are well formed.
func onlyString(f field, num protowire.Number) (string, error) {
	var s string
	err := eachField(f.bytes, func(in field) error {
		if in.num == num && in.typ == protowire.BytesType {
			s = string(in.bytes)
		}
		return nil
	})
	if err == nil && !utf8.ValidString(s) {
		err = fmt.Errorf("byte %d: %w: a name is not UTF-8", f.offset, errNotEnvelope)
	}
	return s, err
}

// field is one field of a message in wire form; offset counts from the beginning
// of the message to its content.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	bytes  []byte // of a length-delimited field
	offset int
}

func eachField(data []byte, do func(field) error) error {
	for rest := data; len(rest) > 0; {
		f := field{offset: len(data) - len(rest)}
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return fmt.Errorf("byte %d: %w: %s", f.offset, errNotEnvelope, tidy(protowire.ParseError(n)))
		}
		f.num, f.typ = num, typ
		rest = rest[n:]
		if typ == protowire.BytesType {
			f.bytes, n = protowire.ConsumeBytes(rest)
		} else {
			n = protowire.ConsumeFieldValue(num, typ, rest)
		}
		if n < 0 {
			return fmt.Errorf("byte %d: %w: %s", f.offset, errNotEnvelope, tidy(protowire.ParseError(n)))
		}
		rest = rest[n:]
		f.offset = len(data) - len(rest) - len(f.bytes)
		if err := do(f); err != nil {
			return err
		}
	}
	return nil
}

// decodeBinary makes a document of an envelope.
func decodeBinary(path string, e *envelope) (Document, error) {
	var d Document
	if err := d.begin(path, e.typeURL, e.delta); err != nil {
		return d, err
	}
	for i, r := range e.resources {
		if _, err := d.add(r.url); err != nil {
			return d, fmt.Errorf("resource %d (byte %d): %w", i, r.offset, err)
		}
	}
	errs := make([]error, len(e.resources))
	Each(len(errs), func(i int) {
		errs[i] = unmarshal(d.Kind, e.resources[i].value, d.Resources[i])
	})
	for i, err := range errs {
		if err != nil {
			return d, fmt.Errorf("resource %d (byte %d): %s", i, e.resources[i].offset, tidy(err))
		}
	}
	return d, d.end(e.removed)
}

// begin sets what the head of a response says. Its type may be left to the
// resources.
func (d *Document) begin(path, url string, delta bool) error {
	d.Path = path
	d.Complete = !delta
	if url == "" {
		return nil
	}
	t, err := typeOf(url)
	d.Kind = t.kind
	return err
}

// add appends an empty message of the type that url names, to be filled in.
func (d *Document) add(url string) (proto.Message, error) {
	t, err := typeOf(url)
	if err != nil {
		return nil, err
	}
	if d.Kind == "" {
		d.Kind = t.kind
	}
	if d.Kind != t.kind {
		return nil, fmt.Errorf("a %s in a response of %s", t.kind, d.Kind)
	}
	m := t.make()
	d.Resources = append(d.Resources, m)
	return m, nil
}

func (d *Document) end(removed []string) error {
	d.Removed = removed
	if d.Kind == "" {
		return errors.New("the response names no type and holds no resources")
	}
	for _, t := range resourceTypes {
		if t.kind == d.Kind && !t.complete {
			d.Complete = false
		}
	}
	return nil
}

// tidy returns the text of a protobuf error without its prefix, whose white space
// differs from build to build.
func tidy(err error) string {
	s := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	s = strings.TrimPrefix(s, "proto:")
	return Clip(strings.TrimSpace(s))
}
