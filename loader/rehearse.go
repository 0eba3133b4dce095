// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Where a build or a mode that works is to give way to another, the programs of the new
// one are rehearsed before any link is touched: on a scratch cgroup, first a second load
// of them with maps of its own, in which a small configuration sends connections around,
// then those that are to be attached. Of two cgroups the lower one's programs run first,
// so what is up above leaves alone where they have sent a connection. A build that does
// not do what it should never meets a connection of anybody else.

// Rehearse is the step before Attach.
func (k *node) Rehearse() error {
	if !k.replaces() {
		return nil
	}
	if err := fault("rehearse"); err != nil {
		return loadError("rehearse", k.t.root(), err, "")
	}
	if controller, err := socketsAtRoot(); err != nil {
		return err
	} else if controller != "" {
		k.log.Warnf("self-test: sockets may not belong to a scratch cgroup for %s of cgroup v1, so the new programs are not tested before they are attached", controller)
		return nil
	}
	t, err := beginTrial(&k.Handles, k.rows)
	if err != nil {
		return k.putBack(ignoreUntestable(k.cfg, err))
	}
	if t.dir == nil {
		k.log.Warnf("self-test: no scratch cgroup below %s, so that the new programs are not tested before they are attached", k.cfg.Cgroup2Path)
		return t.end()
	}
	err = t.rehearse(k.next.Variant)
	if err == nil {
		err = t.unattached(k.progs)
	}
	return k.putBack(errors.Join(err, t.end()))
}

// replaces says whether what is up is of another build or of the other mode.
func (k *node) replaces() bool {
	if !k.fresh {
		return false
	}
	return k.found.Build != "" && k.found.Build != k.next.Build || k.other != nil
}

// unattached tests programs that are attached nowhere yet, with connections that go where
// they were asked to.
func (t *trial) unattached(progs map[string]int) (err error) {
	links, err := t.attach(progs, onCgroup)
	defer func() { err = errors.Join(err, closeAll(links)) }()
	if err != nil {
		return err
	}
	return t.attached(only(t.rows, progs, onCgroup))
}

// only leaves the programs of one kind of hook.
func only(rows []program, progs map[string]int, kind hookKind) map[string]int {
	some := map[string]int{}
	for _, r := range rows {
		if r.hook.kind == kind && r.tail == nil {
			some[r.name] = progs[r.name]
		}
	}
	return some
}

// attach attaches the rows of these kinds to the scratch cgroup, and tracepoints where
// they are, with links that nothing pins.
func (t *trial) attach(progs map[string]int, kinds ...hookKind) (links []int, err error) {
	for _, r := range t.rows {
		for _, kind := range kinds {
			if r.hook.kind != kind || r.tail != nil {
				continue
			}
			link, err := r.hook.attach(progs[r.name], t.dir.cgroup)
			if err != nil {
				return links, attachError("self-test", r.name+" at "+r.hook.String(), err, r.hook.remedy(err))
			}
			links = append(links, link)
		}
	}
	return links, nil
}

func closeAll(fds []int) error {
	var errs []error
	for _, fd := range fds {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// scratch is a load of the programs with maps of its own.
type scratch struct {
	Handles // of maps that objs hold
	objs    []*object
	progs   map[string]int
}

// rehearse loads the programs once more and has them send connections around.
func (t *trial) rehearse(v variant) (err error) {
	cfg := *t.h.cfg
	cfg.FlowEntries, cfg.PolicySlots, cfg.Workloads = 2, MinPolicySlots, MinWorkloads
	cfg.Settings.ManageAll = true // of the scratch maps: the cookie of a namespace need not be known
	s := &scratch{Handles: Handles{cfg: &cfg, fds: map[string]int{}}, progs: map[string]int{}}
	defer s.close()
	if err := s.load(t.rows); err != nil {
		return err
	}
	settings := cfg.Settings.kernel(cfg.Mode, v)
	if err := mapUpdate(s.fds["km_config"], uint32(0), settings); err != nil {
		return loadError("self-test", "km_config", err, "")
	}
	links, err := t.attach(s.progs, onBtfTracepoint, onRawTracepoint, onTracepoint, onCgroup)
	defer func() { err = errors.Join(err, closeAll(links)) }()
	if err != nil {
		return err
	}
	if cfg.Mode == Workload {
		return t.rehearseWorkload(s)
	}
	return t.rehearseAds(s, v)
}

// load is loadFresh for maps that nobody shares and nothing pins.
func (s *scratch) load(rows []program) error {
	for _, name := range objects(s.cfg.Mode, rows) {
		o, err := openObject(s.cfg, name, rows)
		if err != nil {
			return err
		}
		s.objs = append(s.objs, o)
	}
	if err := s.loadAll(s.objs[:1]); err != nil {
		return err
	}
	beside := make(chan error, 1)
	go func() {
		if s.cfg.Mode == Ads {
			beside <- s.firstSlab()
			return
		}
		beside <- nil
	}()
	err := errors.Join(s.loadAll(s.objs[1:]), <-beside)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.tail == nil {
			continue
		}
		if err := mapUpdate(s.fds[r.tail.array], r.tail.index, uint32(s.progs[r.name])); err != nil {
			return loadError("self-test", r.tail.array+" "+r.name, err, "")
		}
	}
	return nil
}

func (s *scratch) loadAll(l []*object) error {
	errs := make([]error, len(l))
	var wg sync.WaitGroup
	for i, o := range l {
		for name, fd := range s.fds {
			errs[i] = errors.Join(errs[i], o.reuse(name, fd))
		}
		if errs[i] != nil {
			break
		}
		wg.Go(func() { errs[i] = o.load(s.cfg.RunDir) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, o := range l {
		for name, p := range o.progs {
			s.progs[name] = p.FileDescriptor()
		}
		for name, m := range o.maps {
			if _, ok := s.fds[name]; !ok {
				s.fds[name] = m.FileDescriptor()
			}
		}
	}
	return nil
}

// close frees the maps with the objects, which hold them.
func (s *scratch) close() {
	for _, o := range s.objs {
		o.close()
	}
}

// ran asks for a run of each of these programs, which nobody else's connections run. The
// kernel counts no tail calls: where one is missing its connection does not arrive.
func (s *scratch) ran(names []string, counting bool) error {
	if !counting {
		return nil
	}
	for _, name := range names {
		info, err := progInfoOf(s.progs[name])
		if err != nil {
			return loadError("self-test", name, err, "")
		}
		if info.RunCount == 0 {
			return loadError("self-test", name, errors.New("connections were made that it has a part in, and it was not run"), "")
		}
	}
	return nil
}

// wrongCount is the error about what a program should have counted.
func wrongCount(name, what string, have, want uint64) error {
	if have == want {
		return nil
	}
	return &exit.Error{Code: exit.Load, Step: "self-test", Object: name, Err: fmt.Errorf("%s: %d counted, %d were to be", what, have, want)}
}
