// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// maxInput is the most bytes that one input may have.
const maxInput = 256 << 20

// Parse reads data, whose form it finds out by its content; path is for messages.
// Errors are *exit.Error with code Rejected and name path and place.
func Parse(path string, data []byte) ([]Document, error) {
	docs, err := parse(path, data)
	if err != nil {
		return nil, &exit.Error{Code: exit.Rejected, Step: "read configuration", Object: path, Err: err}
	}
	return docs, nil
}

func parse(path string, data []byte) ([]Document, error) {
	switch {
	case len(data) > maxInput:
		return nil, fmt.Errorf("%d bytes are more than the limit of %d", len(data), maxInput)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, fmt.Errorf("it is empty")
	}
	e, err := readEnvelope(data)
	if err == nil {
		d, err := decodeBinary(path, e)
		if err != nil {
			return nil, err
		}
		return []Document{d}, nil
	}
	if !isText(data) {
		return nil, fmt.Errorf("neither an Envoy response nor JSON nor YAML: %w", err)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if first := bytes.TrimSpace(data)[0]; first == '{' || first == '[' {
		return parseJSON(path, data)
	}
	return parseYAML(path, data)
}

// isText says whether data can be JSON or YAML: UTF-8 without control characters.
func isText(data []byte) bool {
	for _, b := range data {
		if b < ' ' && b != '\n' && b != '\r' && b != '\t' {
			return false
		}
	}
	return utf8.Valid(data)
}
