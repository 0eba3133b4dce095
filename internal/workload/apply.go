// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// Result is what an Apply did, in an order that depends on nothing but the input.
type Result struct {
	Counts map[Kind]xds.Count
	// Warnings are about traffic that goes otherwise than was asked for.
	Warnings []string
	// Notes name what cannot be honoured.
	Notes []string
	// Rejected are invalid resources, which were left out.
	Rejected []xds.Rejection
}

// Apply publishes docs, later ones over earlier ones, as one change. An error about
// the content is *exit.Error with code Rejected, naming document, resource and field;
// nothing has changed then. With skipInvalid invalid resources are left out: they
// stay what they were.
func (s *Store) Apply(docs []xds.Document, skipInvalid bool) (*Result, error) {
	b := &batch{res: &Result{Counts: map[Kind]xds.Count{}}}
	check := func(held *model) error {
		if err := b.convert(docs, held); err != nil {
			return err
		}
		if bad := b.res.Rejected; len(bad) > 0 && !skipInvalid {
			return xds.Reject(bad)
		}
		return nil
	}
	raw := slices.ContainsFunc(docs, func(d xds.Document) bool { return len(d.Raw) > 0 })
	if !raw {
		if err := check(nil); err != nil {
			return nil, err
		}
	}
	err := s.current(func(l *live) error {
		if raw {
			if err := check(l.model); err != nil {
				return err
			}
		}
		if err := s.readNode(l); err != nil {
			return err
		}
		changes := b.changes(l)
		l.expect(len(changes))
		for _, c := range changes {
			l.change(c, changes)
		}
		// A name that goes and a waypoint that is not there leave traces elsewhere.
		b.tell(l, changes)
		return s.publish(l, changes)
	})
	if err != nil {
		return nil, err
	}
	return b.res, nil
}

// Check says whether Apply would reject docs for what they hold, without a Store.
func Check(docs []xds.Document) error {
	b := &batch{res: &Result{Counts: map[Kind]xds.Count{}}}
	if err := b.convert(docs, nil); err != nil || len(b.res.Rejected) == 0 {
		return err
	}
	return xds.Reject(b.res.Rejected)
}

// kindsOf are the kinds of resources that a document may hold.
func kindsOf(k xds.Kind) []Kind {
	if k == xds.KindAuthorization {
		return []Kind{Policy}
	}
	return []Kind{Workload, Service}
}

// changes compares what the documents ask for with what is there, and counts.
func (b *batch) changes(l *live) []change {
	n := 0
	for _, a := range b.docs {
		n += len(a.list) + len(a.doc.Removed)
	}
	want := make(map[named]*resource, n) // nil: gone
	order := make([]named, 0, n)
	set := func(n named, r *resource) {
		if _, again := want[n]; !again {
			order = append(order, n)
		}
		want[n] = r
	}
	for _, a := range b.docs {
		for _, k := range kindsOf(a.doc.Kind) {
			// A name that goes in one response and comes in the same is there.
			for _, name := range a.doc.Removed {
				set(named{k, name}, nil)
			}
			if !a.doc.Complete {
				continue
			}
			for n := range want {
				if n.kind == k && !a.stay[n] {
					want[n] = nil
				}
			}
			for name := range l.model.res[k] {
				if n := (named{k, name}); !a.stay[n] {
					set(n, nil)
				}
			}
		}
		for _, r := range a.list {
			set(named{r.kind, r.name}, r)
		}
	}
	var list []change
	for _, n := range order {
		c := change{l.model.res[n.kind][n.name], want[n]}
		count := b.res.Counts[n.kind]
		switch {
		case c.old == nil && c.new == nil:
			continue
		case c.new == nil:
			count.Deleted++
		case c.old != nil && c.old.same(c.new):
			count.Unchanged++
		default:
			count.Updated++
		}
		b.res.Counts[n.kind] = count
		if c.new == nil || c.old == nil || !c.old.same(c.new) {
			list = append(list, c)
		}
	}
	return list
}

// expect makes room for many changes at once, where nothing is there yet.
func (l *live) expect(n int) {
	if m := l.model; len(m.nums) == 0 && len(l.peers) == 0 {
		m.nums, m.res[Workload] = make(map[uint32]*resource, n), make(map[string]*resource, n)
		peers := make(map[netip.Addr]struct{}, n)
		maps.Copy(peers, m.dirty.peers)
		m.addrs, m.dirty.peers = make(map[netip.Addr]group, n), peers
		l.peers = make(map[netip.Addr]peerC, n)
	}
}

// change makes one of all changes in the model.
func (l *live) change(c change, all []change) {
	if c.new == nil {
		l.model.remove(c.old.kind, c.old.name)
		return
	}
	if c.old != nil {
		c.new.num = c.old.num
	} else {
		c.new.num = l.resources.take(l.resourcesInUse(all))
	}
	l.model.put(c.new)
}

// tell gathers what there is to say about what changed, and about what the documents
// name.
func (b *batch) tell(l *live, changes []change) {
	m := l.model
	about := m.derive()
	for _, a := range b.docs {
		about = append(about, a.list...)
	}
	for _, r := range about {
		if r = m.res[r.kind][r.name]; r != nil && r.more != nil {
			b.res.Warnings = append(b.res.Warnings, r.more.warnings...)
			b.res.Notes = append(b.res.Notes, r.more.notes...)
		}
	}
	b.res.Warnings = append(b.res.Warnings, m.conflicts(m.dirty.keys, m.dirty.peers)...)
	slices.Sort(b.res.Warnings)
	b.res.Warnings = slices.Compact(b.res.Warnings)
	slices.Sort(b.res.Notes)
	b.res.Notes = slices.Compact(b.res.Notes)
}

// Delete removes one resource. It is an *exit.Error of code NotUp where it is not there.
func (s *Store) Delete(kind Kind, name string) error {
	return s.current(func(l *live) error {
		r := l.model.res[kind][name]
		if r == nil {
			return &exit.Error{Code: exit.NotUp, Step: "delete", Object: kind.String() + " " + xds.Clip(name), Err: errors.New("not found")}
		}
		if err := s.readNode(l); err != nil {
			return err
		}
		c := change{old: r}
		l.change(c, nil)
		l.model.derive()
		return s.publish(l, []change{c})
	})
}

// Refresh brings what is derived up to date with what the loader wrote and the host
// says, and finishes or takes back what another writer left unfinished. It writes only
// what differs.
func (s *Store) Refresh() error { return s.refresh(false) }

// Renew is Refresh, and the image and all verdicts are made anew: another writer may have
// published into the km_policy and km_pstate that gave way to these.
func (s *Store) Renew() error { return s.refresh(true) }

func (s *Store) refresh(anew bool) error {
	return s.current(func(l *live) error {
		if err := s.readHost(l); err != nil {
			return err
		}
		l.model.derive()
		if head := as[imageC](s.maps.image(true)); head.abi != abiVersion {
			l.image = true
		}
		l.image = l.image || anew
		if err := s.publish(l, nil); err != nil {
			return err
		}
		return s.markWaypoints(l, true)
	})
}

// Rejudge has every verdict made anew.
func (s *Store) Rejudge() error {
	return s.locked(func() error {
		s.maps.judgeAnew(false)
		return nil
	})
}
