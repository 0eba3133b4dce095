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

// kindsOf is what a response of each type is, and what it holds: istiod names workloads and
// services, which share a type, by one name each.
var kindsOf = map[string]struct {
	document xds.Kind
	held     []workload.Kind
}{
	xdsclient.AddressType:       {xds.KindAddress, []workload.Kind{workload.Workload, workload.Service}},
	xdsclient.AuthorizationType: {xds.KindAuthorization, []workload.Kind{workload.Policy}},
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
	var r *workload.Result
	err = w.with(func(s *workload.Store) (err error) {
		s.Later()
		r, err = s.Apply([]xds.Document{*d}, true)
		return err
	})
	if exit.Code(err) == exit.Rejected {
		return rejectAll(d, err), w.takeAway(d) // asked for again it would be no better
	}
	if err != nil {
		return nil, fmt.Errorf("publish %s: %w", d.Kind, err)
	}
	for _, text := range r.Notes {
		w.log.Debug(text)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.warned.tell(w.log, "xds: ", r.Warnings)
	w.come[d.Kind] = true
	if w.again = w.retiring; !w.retiring {
		w.retireLater()
	}
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

// takeAway brings into force what goes by a response that had no room: it asks for none,
// and would not be named again.
func (w *Workload) takeAway(d *xds.Document) error {
	named := make(map[string]bool, len(d.Raw))
	for _, r := range d.Raw {
		named[r.Name] = true
	}
	gone := slices.DeleteFunc(slices.Clone(d.Removed), func(name string) bool { return named[name] })
	if len(gone) == 0 {
		return nil
	}
	return w.with(func(s *workload.Store) error {
		_, err := s.Apply([]xds.Document{{Path: d.Path, Kind: d.Kind, Removed: gone}}, true)
		return err
	})
}

// rejectAll is for a response that as a whole cannot be taken: there is no room for it.
func rejectAll(d *xds.Document, err error) (rejected []xds.Rejection) {
	for _, r := range d.Raw {
		rejected = append(rejected, xds.Rejection{Kind: d.Kind, Name: r.Name, Err: fmt.Errorf("%s: %w", xds.Clip(r.Name), err)})
	}
	return rejected
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
	err = w.with(func(s *workload.Store) (err error) {
		names, err = s.Names(of.held...)
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
		if k := kindsOf[t].document; !w.come[k] {
			absent = append(absent, string(k))
		}
	}
	return len(absent) == 0, strings.Join(absent, ", ")
}
