// SPDX-License-Identifier: Apache-2.0

package livexds

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/keeper"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/loader"
	"github.com/kmesh-net/kmesh-node/proto/cluster"
)

// Ads brings what a control plane says into the maps of ads mode, in an order in which no
// connection meets half of it: a Cluster comes with its endpoints, what names Clusters
// and RouteConfigurations comes with or after them, and goes before them. What waits for
// others waits for as long as Envoy would, then it comes or goes all the same. Its
// methods may be called from any goroutine.
type Ads struct {
	open func(func(storage) error) error
	log  *logrus.Logger
	now  func() time.Time

	mu      sync.Mutex
	world   *world
	version store.Version     // of the store that world knows
	come    map[xds.Kind]bool // a response of that kind was taken
	timer   *time.Timer       // runs while something waits
	due     time.Time         // of timer: when what waits for longest has done so for long enough
	warned  warned
	changed func()
	lost    func()
	closed  bool

	// absent is what is missing of a whole sync, for Synced: those who ask, probes among
	// them, do not wait for a publication that is under way.
	absent atomic.Pointer[string]
}

// NewAds returns a sink that publishes through k.
func NewAds(k *keeper.Keeper, log *logrus.Logger) *Ads {
	return newAds(log, time.Now, func(do func(storage) error) error {
		return k.Ads(func(s *store.Store, _ *loader.Handles) error { return do(s) })
	})
}

func newAds(log *logrus.Logger, now func() time.Time, open func(func(storage) error) error) *Ads {
	a := &Ads{open: open, log: log, now: now, changed: func() {}, lost: func() {}}
	a.reset()
	a.note()
	return a
}

// reset forgets everything.
func (a *Ads) reset() {
	a.world, a.version, a.come = newWorld(a.now), store.Version{}, map[xds.Kind]bool{}
}

// OnChange has do called after something came into force, or was given up, without a
// response: because its time was over. It is to be set before the first response.
func (a *Ads) OnChange(do func()) { a.changed = do }

// OnLost has do called when something is not in the maps any more that came into force, and
// no response's Update says so. It is to be set before the first response.
func (a *Ads) OnLost(do func()) { a.lost = do }

// Types are those of ads mode, in the order in which each finds what it names.
func (a *Ads) Types() []string {
	return []string{xdsclient.ClusterType, xdsclient.EndpointType, xdsclient.ListenerType, xdsclient.RouteType}
}

// kinds by type.
var adsKinds = map[string]xds.Kind{
	xdsclient.ClusterType:  xds.KindCluster,
	xdsclient.EndpointType: xds.KindAssignment,
	xdsclient.ListenerType: xds.KindListener,
	xdsclient.RouteType:    xds.KindRoute,
}

// Update takes one response. What is complete by it comes into force as one publication.
func (a *Ads) Update(ctx context.Context, d *xds.Document) (rejected []xds.Rejection, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.note()
	var t *taking
	err = a.open(func(s storage) error {
		if err := a.follow(s); err != nil {
			return err
		}
		if t == nil { // where the maps are others than before, this comes twice
			t = a.world.take(d, limitOf)
		}
		return a.bring(ctx, s, t)
	})
	whole := t != nil && refused(err)
	if whole {
		t.rejectAll(err)
		t.undo()
		// What goes asks for no room, and would not be named again.
		t.takeAway()
		err = a.open(func(s storage) error { return a.bring(ctx, s, t) })
		if refused(err) { // what waited before is the reason, and goes on to wait with what goes
			err = nil
		}
	}
	if err != nil {
		if t != nil {
			t.undo()
		}
		a.world.lapse()
		return nil, err
	}
	a.world.lapse()
	if a.world.again {
		a.world.again = false
		a.log.Info("xds: something is wanted again that was asked for all the time: all is asked for again")
		a.lost()
	}
	a.come[d.Kind] = a.come[d.Kind] || !whole
	a.warn(d.Warnings)
	if d.Complete && len(d.Raw) == 0 {
		a.warn([]string{fmt.Sprintf("the control plane names no %s: every %s goes away", d.Kind, d.Kind)})
	}
	a.arm(0)
	return t.rejected, nil
}

// limitOf is how many resources of a kind the store has room for.
func limitOf(k xds.Kind) int {
	return store.Limit(map[xds.Kind]config.Kind{
		xds.KindCluster: config.Cluster, xds.KindListener: config.Listener, xds.KindRoute: config.Route,
	}[k])
}

// refused says whether a publication failed for what was to be published.
func refused(err error) bool {
	var invalid *store.InvalidError
	return errors.Is(err, store.ErrNoSpace) || errors.As(err, &invalid)
}

// mostMoved is how often something is brought anew because another writer came in between:
// each time all of the store is read.
const mostMoved = 20

// mostBlamed is how many resources of one response are refused one by one: each is found by
// a publication that fails. With more, all of the response is refused.
const mostBlamed = 8

// blame makes a rejection of the resource whose operation failed; ok is false where that is
// not known.
func (a *Ads) blame(ops []store.Op, err error, t *taking) (b xds.Rejection, ok bool) {
	var failed *store.OpError
	if !refused(err) || !errors.As(err, &failed) || ops[failed.Op].Delete {
		return b, false
	}
	m := ops[failed.Op].Message
	b = xds.Rejection{Kind: xds.Kind(config.KindOf(m).String()), Name: config.NameOf(m), Err: err}
	if c, is := m.(*cluster.Cluster); is && xds.ServiceName(c) != "" {
		r := a.world.clusters[c.GetName()]
		if t != nil && t.doc.Kind == xds.KindAssignment || r == nil || !r.goes { // its endpoints change
			b.Kind, b.Name = xds.KindAssignment, xds.ServiceName(c)
		}
	}
	return b, true
}

// bring publishes what can come into force and go now. t may be nil: no response is the
// reason.
func (a *Ads) bring(ctx context.Context, s storage, t *taking) error {
	late := a.now().Add(-fetchTime)
	overdue := func(since time.Time) bool { return t == nil && !since.After(late) }
	complete := a.come[xds.KindCluster] || t != nil && t.doc.Kind == xds.KindCluster
	blamed, moved := 0, 0
	for {
		p := a.world.makePlan(complete, overdue)
		if p.empty() {
			return nil
		}
		removed, put := p.changes()
		r, err := xds.Combine(removed, put, index{a.world, s})
		if err == nil && len(r.Rejected) > 0 {
			p.drop()
			a.reject(r.Rejected, t)
			continue
		}
		if err == nil {
			a.version, err = a.publish(s, r)
			if b, ok := a.blame(r.Ops, err, t); ok && blamed < mostBlamed {
				blamed++
				p.drop()
				a.reject([]xds.Rejection{b}, t)
				continue
			}
		}
		switch {
		case err == nil:
			p.done(r.Ops)
			if a.world.restore() || len(p.missed) > 0 {
				a.log.Info("xds: something can come into force that could not when it came: all is asked for again")
				a.lost()
			}
			a.warn(slices.Concat(p.remarks, r.Warnings))
			for _, n := range r.Notes {
				a.log.Debugf("xds: %s", n)
			}
			if t != nil {
				return nil
			}
			// Of two at one address the other one is over time as well.
		case errors.Is(err, store.ErrMoved) && moved < mostMoved && ctx.Err() == nil:
			moved++
			p.drop()
			if err := a.follow(s); err != nil {
				return err
			}
		default:
			p.drop()
			return err
		}
	}
}

// publish publishes the operations of r; the version stays as it is on an error.
func (a *Ads) publish(s storage, r *xds.Result) (store.Version, error) {
	v, err := s.PublishAt(r.Ops, a.version)
	if err != nil {
		return a.version, err
	}
	return v, nil
}

// reject forgets resources that cannot be together with the others. Of a kind that t is not
// of the control plane has heard that they are fine: they are tried again.
func (a *Ads) reject(bad []xds.Rejection, t *taking) {
	for _, b := range bad {
		if t == nil || t.doc.Kind != b.Kind {
			if a.world.retry(b) {
				a.log.WithError(b.Err).Errorf("xds: %s %s is refused, and is tried again", b.Kind, xds.Clip(b.Name))
			}
			continue
		}
		if r := a.world.of(b.Kind)[b.Name]; r != nil {
			r.print, r.said = 0, r.held != nil
			a.world.setNext(r, nil)
		} else if s := a.world.services[b.Name]; s != nil {
			s.print = 0
			a.world.settleService(s, nil, false)
		}
		t.rejected = append(t.rejected, b)
	}
}

// warn logs what was not logged before.
func (a *Ads) warn(texts []string) { a.warned.tell(a.log, "xds: ", texts) }

// Names are the services of Clusters, and the RouteConfigurations that Listeners name.
func (a *Ads) Names(typeURL string) (names []string, byName bool) {
	k := adsKinds[typeURL]
	if k != xds.KindAssignment && k != xds.KindRoute {
		return nil, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.open(a.follow); err != nil {
		a.fault(err, "what the maps name is not known")
	}
	a.world.hear(k)
	return a.world.questions(k), true
}

// Look finds what another writer took away, without a response.
func (a *Ads) Look() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.open(a.follow); err != nil {
		a.fault(err, "what the maps hold is not known")
	}
}

// fault tells of an error that comes to nobody who asked.
func (a *Ads) fault(err error, text string) {
	a.log.WithError(err).Error("xds: " + text)
	if errors.Is(err, xdsclient.ErrResync) {
		a.lost()
	}
}

// Held are the names of what the maps hold of a type, and of Listeners whose addresses others
// have for now: the control plane has to say of all of them that they went away.
func (a *Ads) Held(typeURL string) (names []string, err error) {
	k := adsKinds[typeURL]
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.open(a.follow); err != nil {
		return nil, err
	}
	for name, r := range a.world.of(k) {
		if r.said || r.held != nil || r.next != nil {
			names = append(names, name)
		}
	}
	if k == xds.KindAssignment {
		for name := range a.world.services {
			if a.world.assigned(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}
