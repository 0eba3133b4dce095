// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	wapi "github.com/kmesh-net/kmesh-node/proto/workload"
)

// named is a resource by kind and name.
type named struct {
	kind Kind
	name string
}

// arrived is one document, converted.
type arrived struct {
	doc  *xds.Document
	list []*resource
	stay map[named]bool // invalid ones
}

// batch gathers what documents ask for.
type batch struct {
	res  *Result
	docs []arrived
}

// window is how many resources are decoded at a time: of what is decoded little is kept.
const window = 2048

// convert validates all resources of docs. It touches no state; raw ones that read as
// those that are held, which may be nil, are those.
func (b *batch) convert(docs []xds.Document, held *model) error {
	for i := range docs {
		d := &docs[i]
		if err := xds.NeedsMode(d.Kind, "workload"); err != nil {
			return &exit.Error{Code: exit.Rejected, Step: "check configuration", Object: d.Path, Err: err}
		}
		b.res.Warnings = append(b.res.Warnings, d.Warnings...)
		total := len(d.Resources) + len(d.Raw)
		if d.Complete && total == 0 {
			b.res.Warnings = append(b.res.Warnings, fmt.Sprintf("%s: it names no %s: every %s goes away", d.Path, d.Kind, d.Kind))
		}
		a := arrived{doc: d, list: make([]*resource, 0, total), stay: map[named]bool{}}
		seen := make(map[named]struct{}, total)
		list := make([]converted, min(total, window))
		for from := 0; from < total; from += window {
			list = list[:min(total-from, window)]
			xds.Each(len(list), func(i int) { list[i] = convertOne(d, from+i, held) })
			for _, c := range list {
				b.take(&a, c, seen)
			}
		}
		b.docs = append(b.docs, a)
	}
	return nil
}

// converted is one resource of a document, or what is wrong with it.
type converted struct {
	named // kind 0: it is not known
	r     *resource
	err   error
}

func convertOne(d *xds.Document, i int, held *model) converted {
	if i < len(d.Resources) {
		return convertMessage(d.Resources[i])
	}
	i -= len(d.Resources)
	raw := &d.Raw[i]
	if held != nil {
		for _, k := range kindsOf(d.Kind) {
			if r := held.res[k][raw.Name]; r != nil && r.is(raw.Value) {
				return converted{named{k, r.name}, r, nil}
			}
		}
	}
	m, err := d.Message(i)
	var c converted
	if err == nil {
		if c = convertMessage(m); c.kind == 0 {
			err = c.err
		} else {
			err = d.Misnamed(i, c.name)
		}
	}
	if err != nil {
		return converted{named{name: raw.Name}, nil, err}
	}
	return c
}

func convertMessage(m proto.Message) (c converted) {
	m = inner(m)
	c.kind, c.name = nameOf(m)
	if c.err = validate(m); c.err == nil {
		c.r, c.err = newResource(m)
	}
	return c
}

// take adds a resource to what arrived, each once.
func (b *batch) take(a *arrived, c converted, seen map[named]struct{}) {
	if _, again := seen[c.named]; again && c.err == nil {
		c.err = errors.New("stands in one document twice")
	}
	seen[c.named] = struct{}{}
	if c.err == nil {
		a.list = append(a.list, c.r)
		return
	}
	for _, k := range kindsOf(a.doc.Kind) {
		if c.kind == 0 || c.kind == k {
			a.stay[named{k, c.name}] = true
		}
	}
	what := a.doc.Kind
	if c.kind != 0 {
		what = xds.Kind(c.kind.String())
	}
	b.res.Rejected = append(b.res.Rejected, a.doc.Refuse(what, c.name, c.err))
}

// inner takes a workload or a service out of an Address; nil where neither is in it.
func inner(m proto.Message) proto.Message {
	a, ok := m.(*wapi.Address)
	if !ok {
		return m
	}
	if w := a.GetWorkload(); w != nil {
		return w
	}
	if s := a.GetService(); s != nil {
		return s
	}
	return nil
}
