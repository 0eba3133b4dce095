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
	res      *Result
	docs     []arrived
	errs     []error
	invalids []string // their names
}

// convert validates all resources. It touches no state.
func (b *batch) convert(docs []xds.Document) error {
	for i := range docs {
		d := &docs[i]
		if err := xds.NeedsMode(d.Kind, "workload"); err != nil {
			return &exit.Error{Code: exit.Rejected, Step: "check configuration", Object: d.Path, Err: err}
		}
		b.res.Warnings = append(b.res.Warnings, d.Warnings...)
		if d.Complete && len(d.Resources) == 0 {
			b.res.Warnings = append(b.res.Warnings, fmt.Sprintf("%s: it names no %s: every %s goes away", d.Path, d.Kind, d.Kind))
		}
		a := arrived{doc: d, stay: map[named]bool{}}
		list := make([]*resource, len(d.Resources))
		errs := make([]error, len(d.Resources))
		xds.Each(len(list), func(i int) { list[i], errs[i] = convert(d.Resources[i]) })
		seen := make(map[named]bool, len(list))
		for i, r := range list {
			k, name := nameOf(inner(d.Resources[i]))
			n := named{k, name}
			if errs[i] == nil && seen[n] {
				errs[i] = errors.New("stands in one document twice")
			}
			seen[n] = true
			if errs[i] != nil {
				a.stay[n] = true
				b.invalid(d, k, name, errs[i])
				continue
			}
			a.list = append(a.list, r)
		}
		b.docs = append(b.docs, a)
	}
	return nil
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

func convert(m proto.Message) (*resource, error) {
	m = inner(m)
	if err := validate(m); err != nil {
		return nil, err
	}
	return newResource(m)
}

func (b *batch) invalid(d *xds.Document, k Kind, name string, err error) {
	b.invalids = append(b.invalids, name)
	what := string(d.Kind)
	if k != 0 {
		what = k.String()
	}
	if name == "" {
		name = "without a name"
	}
	b.errs = append(b.errs, &exit.Error{Code: exit.Rejected, Step: "check configuration",
		Object: fmt.Sprintf("%s: %s %s", d.Path, what, xds.Clip(name)), Err: err})
}
