// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Raw is one resource of a response as it came: most of a push is what was there
// before, and is never decoded.
type Raw struct {
	// Name as the response calls it; "": as the resource calls itself.
	Name string
	URL  string // of its type
	// Value is its wire form, which is kept and not changed.
	Value []byte
}

// Rejection is a resource that is not taken.
type Rejection struct {
	Kind Kind
	Name string // as its document calls it
	Err  error  // names the resource and the field; of an invalid one *exit.Error of code Rejected
}

// Response returns the document of a response of that type, which came by way of path;
// its resources stay undecoded. The error of a type that is unknown is *exit.Error with
// code Rejected.
func Response(path, typeURL string, delta bool, resources []Raw, removed []string) (*Document, error) {
	d := &Document{}
	err := d.begin(path, typeURL, delta)
	if err == nil {
		err = d.end(removed)
	}
	if err != nil {
		return nil, &exit.Error{Code: exit.Rejected, Step: "read configuration", Object: path, Err: err}
	}
	d.Raw = resources
	return d, nil
}

// NameOf returns what raw resource i is called: the first field of its message, where
// its response says nothing.
func (d *Document) NameOf(i int) string {
	r := &d.Raw[i]
	if r.Name != "" {
		return r.Name
	}
	num, typ, n := protowire.ConsumeTag(r.Value)
	if n < 0 || num != 1 || typ != protowire.BytesType {
		return ""
	}
	name, n := protowire.ConsumeString(r.Value[n:])
	if n < 0 {
		return ""
	}
	return name
}

// Message decodes raw resource i, which must be of the document's kind.
func (d *Document) Message(i int) (proto.Message, error) {
	r := &d.Raw[i]
	t, err := typeOf(r.URL)
	if err != nil {
		return nil, err
	}
	if t.kind != d.Kind {
		return nil, fmt.Errorf("a %s in a response of %s", t.kind, d.Kind)
	}
	m := t.make()
	if err := unmarshal(d.Kind, r.Value, m); err != nil {
		return nil, fmt.Errorf("%s", tidy(err))
	}
	return m, nil
}

// unmarshal reads the wire form of a resource.
func unmarshal(k Kind, wire []byte, m proto.Message) error {
	// A condition that is left out would make a policy another one: whoever
	// takes policies refuses what is unknown in them.
	o := proto.UnmarshalOptions{DiscardUnknown: k != KindAuthorization}
	return o.Unmarshal(wire, m)
}

// Misnamed is the error of raw resource i where its message has another name than the
// response gives it: a removal, by the response's name, would miss it.
func (d *Document) Misnamed(i int, name string) error {
	if said := d.Raw[i].Name; said != "" && said != name {
		return fmt.Errorf("the message in it is named %s", Clip(name))
	}
	return nil
}

// Reject makes a rejection of what is wrong with raw resource i as a whole.
func (d *Document) Reject(i int, err error) Rejection { return d.Refuse(d.Kind, d.NameOf(i), err) }

// Refuse makes a rejection of what is wrong with a resource of d.
func (d *Document) Refuse(k Kind, name string, err error) Rejection {
	shown := Clip(name)
	if name == "" {
		shown = "without a name"
	}
	return Rejection{Kind: k, Name: name, Err: &exit.Error{
		Code: exit.Rejected, Step: "check configuration", Object: fmt.Sprintf("%s: %s %s", d.Path, k, shown), Err: err,
	}}
}
