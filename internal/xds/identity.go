// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/listener"
)

// Name is what a document calls one of its resources. Key is set where several may
// have one name: the address of an own Listener.
type Name struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	Key  string `json:"key,omitempty"`
}

// Names lists the resources of ads mode in d. Of other documents, nameOf tells.
func (d *Document) Names(nameOf func(proto.Message) string) []Name {
	l := make([]Name, 0, len(d.Resources))
	for _, m := range d.Resources {
		n := Name{Kind: d.Kind}
		switch m := m.(type) {
		case interface{ GetClusterName() string }:
			n.Kind, n.Name = KindAssignment, m.GetClusterName()
		case *listener.Listener:
			n.Kind, n.Name, n.Key = KindListener, m.GetName(), config.KeyOf(m)
		case interface{ GetName() string }:
			n.Name = m.GetName()
			if k := config.KindOf(m.(proto.Message)); k != 0 {
				n.Kind = Kind(k.String()) // of a ConfigDump
			}
		}
		if d.Kind == KindAddress || d.Kind == KindAuthorization {
			n = Name{Kind: d.Kind, Name: nameOf(m)}
		}
		l = append(l, n)
	}
	return l
}

// Removal returns the documents by which what is named goes away, at path for people.
// Put in front of others, those that name it again keep it.
func Removal(path string, names []Name) []Document {
	var docs []Document
	for _, k := range []Kind{KindListener, KindRoute, KindCluster, KindAssignment, KindAddress, KindAuthorization} {
		d := Document{Path: path, Kind: k}
		for _, n := range names {
			if n.Kind == k {
				d.Removed = append(d.Removed, n.Name)
			}
		}
		if len(d.Removed) > 0 {
			docs = append(docs, d)
		}
	}
	return docs
}
