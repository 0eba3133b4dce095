// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Options of Translate.
type Options struct {
	// SkipInvalid leaves invalid resources out, so that they stay as they are in
	// the store, instead of rejecting everything.
	SkipInvalid bool
}

// Count is what a batch does to the resources of one kind.
type Count struct {
	Updated   int `json:"updated"` // or added
	Deleted   int `json:"deleted"`
	Unchanged int `json:"unchanged"` // written as they are
}

// Result is one batch for the store and what to tell about it. All lists are in an
// order that depends on nothing but the input.
type Result struct {
	Ops []config.Op
	// Warnings are about traffic that goes otherwise than was asked for.
	Warnings []string
	// Notes name what cannot be honoured at connect; those of resources in Ops are
	// in the resources as well.
	Notes []string
	// Rejected are invalid resources, which were left out.
	Rejected []Rejection
	Counts   map[config.Kind]Count
}

// Translate makes one batch of docs, later ones over earlier ones, given what the
// store holds. An error about the content is *exit.Error with code Rejected, naming
// document, resource and field; one of cur is returned as it is.
func Translate(docs []Document, cur State, o Options) (*Result, error) {
	all := newCurrent(cur)
	b := newBatch(all, o)
	b.all = all
	for i := range docs {
		if err := b.document(&docs[i]); err != nil {
			return nil, err
		}
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	if bad := b.res.Rejected; len(bad) > 0 && !o.SkipInvalid {
		return nil, Reject(bad)
	}
	return b.res, nil
}

// Reject makes one error of those of all invalid resources.
func Reject(bad []Rejection) error {
	var first *exit.Error
	if !errors.As(bad[0].Err, &first) {
		return bad[0].Err
	}
	e := *first
	e.Remedy = "correct it, or leave out what is invalid with --skip-invalid"
	if n := len(bad) - 1; n > 0 {
		e.Remedy = fmt.Sprintf("%d more are invalid; %s", n, e.Remedy)
	}
	return &e
}

// batch gathers what the documents ask for.
type batch struct {
	opts        Options
	cur         Index
	all         *current // cur, where documents may be complete
	res         *Result
	seq         int // documents so far: the later one wins
	clusters    map[string]*clusterEntry
	assignments map[string]*assignmentEntry
	listeners   map[string]*listenerEntry // by address
	addresses   map[string][]string       // of listeners by name, now or before in this batch
	routes      map[string]*routeEntry
}

func newBatch(cur Index, o Options) *batch {
	return &batch{
		opts:        o,
		cur:         cur,
		res:         &Result{Counts: map[config.Kind]Count{}},
		clusters:    map[string]*clusterEntry{},
		assignments: map[string]*assignmentEntry{},
		listeners:   map[string]*listenerEntry{},
		addresses:   map[string][]string{},
		routes:      map[string]*routeEntry{},
	}
}

func (b *batch) document(d *Document) error {
	b.seq++
	b.res.Warnings = append(b.res.Warnings, d.Warnings...)
	switch d.Kind {
	case KindCluster, KindAssignment, KindListener, KindRoute, KindConfigDump:
	case KindAddress, KindAuthorization:
		return &exit.Error{Code: exit.Rejected, Step: "check configuration", Object: d.Path, Err: NeedsMode(d.Kind, "ads")}
	default:
		return fmt.Errorf("translate %s: unknown kind %q", d.Path, d.Kind)
	}
	if d.Complete && len(d.Resources) == 0 {
		b.warn(d.Path, "it names no %s: every %s goes away", d.Kind, d.Kind)
	}
	// A name that goes in one response and comes in the same is there.
	for _, name := range d.Removed {
		if err := b.remove(d.Kind, name); err != nil {
			return err
		}
	}
	return b.add(d)
}

func (b *batch) warn(object, format string, args ...any) {
	b.res.Warnings = append(b.res.Warnings, object+": "+fmt.Sprintf(format, args...))
}

func (b *batch) note(k Kind, name, note string) {
	b.res.Notes = append(b.res.Notes, fmt.Sprintf("%s %s: %s", k, Clip(name), note))
}

// invalid records that a is.
func (b *batch) invalid(a *Arrival) { b.res.Rejected = append(b.res.Rejected, *a.Invalid()) }

// finish turns what was gathered into operations.
func (b *batch) finish() error {
	for _, step := range []func() error{b.finishClusters, b.finishRoutes, b.finishListeners} {
		if err := step(); err != nil {
			return err
		}
	}
	slices.Sort(b.res.Warnings)
	b.res.Warnings = slices.Compact(b.res.Warnings)
	slices.Sort(b.res.Notes)
	b.res.Notes = slices.Compact(b.res.Notes)
	return nil
}

// put adds an operation that stores m.
func (b *batch) put(k config.Kind, m, old proto.Message, notes []string) {
	b.res.Ops = append(b.res.Ops, config.Op{Message: m})
	c := b.res.Counts[k]
	if old != nil && proto.Equal(m, old) {
		c.Unchanged++
	} else {
		c.Updated++
	}
	b.res.Counts[k] = c
	for _, n := range notes {
		b.note(Kind(k.String()), config.NameOf(m), n)
	}
}

// drop adds an operation that removes old.
func (b *batch) drop(k config.Kind, old proto.Message) {
	b.res.Ops = append(b.res.Ops, config.Op{Delete: true, Message: old})
	c := b.res.Counts[k]
	c.Deleted++
	b.res.Counts[k] = c
}

// orNil returns m as an interface that is nil where m is.
func orNil[M interface {
	comparable
	proto.Message
}](m M) proto.Message {
	var none M
	if m == none {
		return nil
	}
	return m
}
