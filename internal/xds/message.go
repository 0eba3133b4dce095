// SPDX-License-Identifier: Apache-2.0

package xds

import "google.golang.org/protobuf/proto"

// Message decodes raw resource i, which must be of the document's kind.
func (d *Document) Message(i int) (proto.Message, error) { return d.decode(&d.Raw[i]) }
