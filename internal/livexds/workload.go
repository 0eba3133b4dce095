// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/keeper"
	"github.com/kmesh-net/kmesh-node/internal/workload"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/loader"
)

// Workload puts what a control plane of ambient mode sends into the maps of workload
// mode. It keeps nothing of its own: names and contents are in the maps.
type Workload struct {
	with func(do func(*workload.Store) error) error // the open writer
	log  *logrus.Logger

	mu   sync.Mutex
	come map[xds.Kind]bool // the first response did
	// retirement is under way, or will be before long; again says that there is more.
	retiring, again bool
	timer           *time.Timer   // of the retirement that is to come
	retired         chan struct{} // closed when the one that was begun last is over
	closed          bool
	warned          warned
	lost            func()

	calm calm
}

// large is a response of so many resources that what it leaves behind counts.
const large = 20000

// patience is how long what a response gave up waits for what the next one gives up.
const patience = 100 * time.Millisecond

// NewWorkload returns the sink of workload mode, which writes through k.
func NewWorkload(k *keeper.Keeper, log *logrus.Logger) *Workload {
	return newWorkload(log, func(do func(*workload.Store) error) error {
		return k.Workload(func(s *workload.Store, _ *loader.Handles) error { return do(s) })
	})
}

func newWorkload(log *logrus.Logger, with func(do func(*workload.Store) error) error) *Workload {
	return &Workload{with: with, log: log, come: map[xds.Kind]bool{}, lost: func() {}}
}

// kindsOf is what a response of each type is.
var kindsOf = map[string]xds.Kind{
	xdsclient.AddressType:       xds.KindAddress,
	xdsclient.AuthorizationType: xds.KindAuthorization,
}

// Types are Address, then Authorization: a policy is about workloads.
func (w *Workload) Types() []string {
	return []string{xdsclient.AddressType, xdsclient.AuthorizationType}
}

// Update publishes one response as one change: see xdsclient.Sink.
func (w *Workload) Update(_ context.Context, d *xds.Document) (rejected []xds.Rejection, err error) {
	defer w.calm.stir()
	if len(d.Raw) > large { // rather some more of the CPU than twice the memory
		defer debug.SetGCPercent(debug.SetGCPercent(20))
	}
	rejected, err = w.apply(d)
	come := true
	if exit.Code(err) == exit.Rejected { // asked for again it would be no better
		rejected = rejectAll(d, err)
		var left []xds.Rejection
		left, err = w.takeAway(d)
		rejected = append(rejected, left...)
		come = len(rejected) == 0
	}
	if err != nil {
		return nil, fmt.Errorf("publish %s: %w", d.Kind, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.come[d.Kind] = w.come[d.Kind] || come
	if w.again = w.retiring; !w.retiring {
		w.retireLater()
	}
	return rejected, nil
}

// apply publishes a document as one change.
func (w *Workload) apply(d *xds.Document) (rejected []xds.Rejection, err error) {
	var r *workload.Result
	err = w.with(func(s *workload.Store) (err error) {
		s.Later()
		r, err = s.Apply([]xds.Document{*d}, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, text := range r.Notes {
		w.log.Debug(text)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.warned.tell(w.log, "xds: ", r.Warnings)
	return r.Rejected, nil
}

// OnLost has do called when another writer removed something. It is to be set before the
// first response.
func (w *Workload) OnLost(do func()) { w.lost = do }

// Look finds what another writer removed: the stream would never speak of it again.
func (w *Workload) Look() {
	var lost bool
	err := w.with(func(s *workload.Store) (err error) {
		lost, err = s.Lost()
		return err
	})
	if err != nil {
		w.log.WithError(err).Error("xds: what the maps hold is not known")
	}
	if lost {
		w.log.Warn("xds: another writer removed what the control plane asked for: all is asked for again")
		w.lost()
	}
}

// retireLater begins a retirement before long. It is called with the lock held.
func (w *Workload) retireLater() {
	if w.retiring = !w.closed; w.closed {
		return
	}
	over := make(chan struct{})
	w.retired = over
	w.timer = time.AfterFunc(patience, func() {
		defer close(over)
		w.retire()
	})
}

// Close ends what the sink does by itself, and waits for what is under way: the writer is
// not used any more. What was given up stays until another writer finds it.
func (w *Workload) Close() {
	w.mu.Lock()
	w.closed = true
	if w.timer != nil && w.timer.Stop() {
		w.retired = nil // it never began
	}
	over := w.retired
	w.mu.Unlock()
	if over != nil {
		<-over
	}
	w.calm.stop()
}

// takeAway brings into force what goes by a response that had no room: it would not be named
// again. What says that something is gone needs room, too, until it is: where there is little
// they go in parts, each of which makes room for a larger one.
func (w *Workload) takeAway(d *xds.Document) (left []xds.Rejection, err error) {
	names := d.Removed
	if d.Complete {
		if names, err = w.held(d.Kind); err != nil {
			return nil, err
		}
	}
	named := make(map[string]bool, len(d.Raw))
	for _, r := range d.Raw {
		named[r.Name] = true
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return named[name] })
	for part := len(names); len(names) > 0; {
		part = min(part, len(names))
		_, err := w.apply(&xds.Document{Path: d.Path, Kind: d.Kind, Removed: names[:part]})
		switch {
		case err == nil:
			names, part = names[part:], 2*part
		case exit.Code(err) != exit.Rejected:
			return nil, err
		case part > 1:
			part /= 2
		default:
			left = append(left, rejection(d, names[0], err))
			names = names[1:]
		}
	}
	return left, nil
}

// rejectAll is for a response that as a whole cannot be taken: there is no room for it.
func rejectAll(d *xds.Document, err error) (rejected []xds.Rejection) {
	for _, r := range d.Raw {
		rejected = append(rejected, rejection(d, r.Name, err))
	}
	return rejected
}

func rejection(d *xds.Document, name string, err error) xds.Rejection {
	return xds.Rejection{Kind: d.Kind, Name: name, Err: fmt.Errorf("%s: %w", xds.Clip(name), err)}
}

// retire removes what publications gave up, which they do not wait for.
func (w *Workload) retire() {
	var remove func() error
	err := w.with(func(s *workload.Store) error {
		remove = s.Retiring()
		return nil
	})
	if err == nil && remove != nil {
		if err = bpfmap.Grace(); err == nil {
			err = w.with(func(*workload.Store) error { return remove() })
		}
	}
	if err != nil {
		w.log.Warnf("what nothing refers to any more stays until the next change: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retiring = false
	if w.again {
		w.again = false
		w.retireLater()
	}
}

// Names: both types are asked for whole.
func (w *Workload) Names(string) (names []string, byName bool) { return nil, false }

// Held are the names that the maps hold, those of workloads and of services as one list.
func (w *Workload) Held(typeURL string) (names []string, err error) {
	of, ok := kindsOf[typeURL]
	if !ok {
		return nil, fmt.Errorf("read names: %s is no type of workload mode", typeURL)
	}
	return w.held(of)
}

// held are the names that the maps hold of what a document of kind k holds.
func (w *Workload) held(k xds.Kind) (names []string, err error) {
	err = w.with(func(s *workload.Store) (err error) {
		names, err = s.Names(k)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	return names, nil
}

// Synced says whether both types have been answered.
func (w *Workload) Synced() (ok bool, missing string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var absent []string
	for _, t := range w.Types() {
		if k := kindsOf[t]; !w.come[k] {
			absent = append(absent, string(k))
		}
	}
	return len(absent) == 0, strings.Join(absent, ", ")
}
