// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"

	"github.com/containernetworking/cni/pkg/version"
)

// list is a network configuration list as a file. It is edited as text: what is not ours
// keeps its form to the byte, and to add our entry and take it out again gives what was
// there before.
type list struct {
	data    []byte
	name    string
	version string
	plugins []element
}

// element is one of the plugins: where it is in the text.
type element struct {
	start, end int
	kind       string // its type
}

var errSingle = errors.New("it is the configuration of a single plugin, behind which none can be put")

// parseList reads a file of a network configuration list.
func parseList(data []byte) (*list, error) {
	if !json.Valid(data) {
		var any any
		return nil, fmt.Errorf("it is no JSON: %w", json.Unmarshal(data, &any))
	}
	l := &list{data: data}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("it is no object"), err)
	}
	single := false
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		if name, ok := key.(string); ok && seen[name] {
			return nil, fmt.Errorf("it has the field %s twice", name)
		} else if ok {
			seen[name] = true
		}
		switch key {
		case "name":
			err = dec.Decode(&l.name)
		case "cniVersion":
			err = dec.Decode(&l.version)
		case "plugins":
			err = l.readPlugins(dec)
		default:
			single = single || key == "type"
			err = dec.Decode(new(json.RawMessage))
		}
		if err != nil {
			return nil, fmt.Errorf("%v: %w", key, err)
		}
	}
	switch {
	case l.plugins == nil && single:
		return nil, errSingle
	case len(l.plugins) == 0:
		return nil, errors.New("it has no plugins")
	case l.name == "":
		return nil, errors.New("it has no name")
	}
	return l, nil
}

func (l *list) readPlugins(dec *json.Decoder) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(errors.New("it is no array"), err)
	}
	l.plugins = []element{}
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		var head struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(raw, &head); err != nil {
			return fmt.Errorf("entry %d: %w", len(l.plugins), err)
		}
		end := int(dec.InputOffset())
		l.plugins = append(l.plugins, element{end - len(raw), end, head.Type})
	}
	_, err := dec.Token()
	return err
}

// own is the index of our entry, -1 where there is none.
func (l *list) own() int {
	return slices.IndexFunc(l.plugins, func(e element) bool { return e.kind == Name })
}

// chains says why no plugin can be put behind those of the list.
func (l *list) chains() error {
	if l.version == "" {
		return errors.New("cniVersion: it is missing: plugins are chained from 0.3.0 on")
	}
	if ok, err := version.GreaterThanOrEqualTo(l.version, "0.3.0"); err != nil || !ok {
		return errors.Join(fmt.Errorf("cniVersion: %q: plugins are chained from 0.3.0 on", l.version), err)
	}
	if !slices.Contains(versions.SupportedVersions(), l.version) {
		return fmt.Errorf("cniVersion: %q: this kmesh-node knows %v", l.version, versions.SupportedVersions())
	}
	return nil
}

// with is the text with our entry: last, in the form of the entry before it, or in place
// of the one that is there, of which stays what s does not say.
func (l *list) with(s Settings) ([]byte, error) {
	at := l.own()
	if at < 0 {
		like := l.plugins[len(l.plugins)-1]
		gap := l.gap(like)
		entry, err := entryOf(s, nil, gap)
		if err != nil {
			return nil, err
		}
		return slices.Concat(l.data[:like.end], []byte(","), gap, entry, l.data[like.end:]), nil
	}
	there := l.plugins[at]
	was, others, err := readEntry(l.data[there.start:there.end])
	if err != nil {
		return nil, err
	}
	now := s.over(was)
	if reflect.DeepEqual(now, was) {
		return l.data, nil
	}
	entry, err := entryOf(now, others, l.gap(there))
	if err != nil {
		return nil, err
	}
	return slices.Concat(l.data[:there.start], entry, l.data[there.end:]), nil
}

// readEntry reads the settings of an entry of ours, and what others wrote into it.
func readEntry(text []byte) (s Settings, others map[string]json.RawMessage, err error) {
	if err := errors.Join(json.Unmarshal(text, &s), json.Unmarshal(text, &others)); err != nil {
		return s, nil, fmt.Errorf("the entry of %s: %w", Name, err)
	}
	delete(others, "type")
	for field := range s.ours() {
		delete(others, field)
	}
	return s, others, nil
}

// inForce are the settings by which the plugin will go, its defaults included.
func (l *list) inForce() (*Settings, error) {
	e := l.plugins[l.own()]
	c, _, err := parse(l.data[e.start:e.end])
	if err != nil {
		return nil, fmt.Errorf("the entry of %s: %w", Name, err)
	}
	s := c.Settings
	s.Timeout, s.LogLevel = c.timeout.String(), c.logLevel.String()
	return &s, nil
}

// without is the text without our entry, which is there.
func (l *list) without() []byte {
	at := l.own()
	if at > 0 {
		return slices.Concat(l.data[:l.plugins[at-1].end], l.data[l.plugins[at].end:])
	}
	if len(l.plugins) > 1 {
		return slices.Concat(l.data[:l.plugins[0].start], l.data[l.plugins[1].start:])
	}
	return slices.Concat(l.data[:l.plugins[0].start], l.data[l.plugins[0].end:])
}

// gap is the white space in front of an element.
func (l *list) gap(e element) []byte {
	start := e.start
	for start > 0 && bytes.IndexByte([]byte(" \t\r\n"), l.data[start-1]) >= 0 {
		start--
	}
	return l.data[start:e.start]
}

// entryOf is our entry, on lines of its own where the gap in front of it has some.
func entryOf(s Settings, others map[string]json.RawMessage, gap []byte) ([]byte, error) {
	entry := struct {
		Type string `json:"type"`
		Settings
	}{Name, s}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(entry); err != nil {
		return nil, fmt.Errorf("write entry: %w", err)
	}
	text := bytes.TrimSpace(b.Bytes())
	for _, field := range slices.Sorted(maps.Keys(others)) {
		name, err := json.Marshal(field)
		if err != nil {
			return nil, fmt.Errorf("write entry: %w", err)
		}
		text = slices.Concat(text[:len(text)-1], []byte(","), name, []byte(":"), others[field], []byte("}"))
	}
	i := bytes.LastIndexByte(gap, '\n')
	if i < 0 {
		return text, nil
	}
	prefix := string(gap[i+1:])
	step := "  "
	if len(prefix) > 0 && prefix[0] == '\t' {
		step = "\t"
	}
	var lines bytes.Buffer
	if err := json.Indent(&lines, text, prefix, step); err != nil {
		return nil, fmt.Errorf("write entry: %w", err)
	}
	return lines.Bytes(), nil
}

var errLong = errors.New("it is too long")

// readLimited reads at most so much; errLong: there is more.
func readLimited(r io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%w: more than %d bytes", errLong, most)
	}
	return data, err
}
