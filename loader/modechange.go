// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A change of mode is an `up` of the other one: what is enrolled is carried over,
// the new mode attaches, and only then the old one goes. Both may run for a moment:
// where one sends a connection is no service's address of the other.

var modes = []Mode{Ads, Workload}

// otherMode is the one that m is not.
func otherMode(m Mode) Mode {
	if m == Ads {
		return Workload
	}
	return Ads
}

// ModesUp lists the modes of which something is pinned where cfg says.
func ModesUp(cfg *Config) []Mode {
	return slices.DeleteFunc(slices.Clone(modes), func(m Mode) bool {
		_, err := os.Lstat(tree{cfg.BpfFsPath, string(m)}.meta())
		return err != nil
	})
}

// withMode is cfg for another mode.
func (c *Config) withMode(m Mode) *Config {
	other := *c
	other.Mode = m
	return &other
}

// findOther reads the record of the other mode, where it is up.
func (k *node) findOther() error {
	t := k.cfg.withMode(otherMode(k.cfg.Mode)).tree()
	rec, err := t.load()
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return nil
	case err != nil:
		k.log.Debugf("record of mode %s: %v", t.mode, err)
		rec = &record{} // down can do without
	}
	k.other = rec
	return nil
}

// carryEnrolments enrols here what is enrolled in the other mode, once: from when
// this mode is up it has its own.
func (k *node) carryEnrolments() error {
	if k.other == nil || k.found.Build != "" {
		return nil
	}
	fd, err := pinGet(k.cfg.withMode(otherMode(k.cfg.Mode)).tree().pin(mapDir, "km_netns"))
	if errors.Is(err, os.ErrNotExist) {
		return nil // an `up` of it was killed
	}
	if err != nil {
		return attachError("carry enrolments over", "km_netns", err, "")
	}
	defer closeFd(k.log, fd)
	cookies, err := netnsKeys(fd)
	if err != nil {
		return attachError("carry enrolments over", "km_netns", err, "")
	}
	t, err := k.carrier(fd)
	if err != nil {
		return attachError("carry enrolments over", "km_netns", err, "")
	}
	to := k.fds["km_netns"]
	n := 0
	for _, c := range cookies {
		var have kmNetns
		entry, err := t.namespace(c)
		if errors.Is(err, os.ErrNotExist) || mapLookup(to, c, &have) == nil {
			continue // left in between, or carried over by an `up` that was killed
		}
		if err != nil {
			return attachError("carry enrolments over", "km_netns", err, "")
		}
		if err := fault("carry"); err != nil {
			return attachError("carry enrolments over", "km_netns", err, "")
		}
		if err := mapUpdate(to, c, newKmNetns(uint64(entry.since))); err != nil {
			return attachError("carry enrolments over", "km_netns", err, "")
		}
		k.undo.push(fmt.Sprintf("unenroll namespace %d", c), func() error { return k.release(c) })
		if err := k.slotAdd(c); err != nil {
			return attachError("carry enrolments over", "km_netns_slot", err, "")
		}
		n++
	}
	if n > 0 {
		k.change(fmt.Sprintf("enrolled: %d network namespaces of mode %s", n, otherMode(k.cfg.Mode)))
	}
	return nil
}

// Configure is the step after which the new mode sends connections where the old one does:
// it has no configuration of its own yet.
func (k *node) Configure() error {
	if k.cfg.Configure == nil || k.other == nil || k.found.Build != "" {
		return nil
	}
	if err := fault("configure"); err != nil {
		return loadError("configure", k.t.root(), err, "")
	}
	return k.cfg.Configure(&k.Handles)
}

// dropOther takes the other mode down, links first. Of one that was taken down by
// an `up` that was killed, the directories may be left.
func (k *node) dropOther() error {
	if k.other == nil {
		if err := removeEmptyDirs(k.cfg.withMode(otherMode(k.cfg.Mode)).tree().directories()); err != nil {
			k.log.Warnf("remove what mode %s left: %v", otherMode(k.cfg.Mode), err)
		}
		return nil
	}
	cfg := k.cfg.withMode(otherMode(k.cfg.Mode))
	if err := fault("other mode"); err != nil {
		return attachError("take mode "+string(cfg.Mode)+" down", cfg.tree().root(), err, "")
	}
	d := &downer{cfg: cfg}
	d.pins()
	if d.rec.Cgroup != "" && d.rec.Cgroup != cfg.Cgroup2Path {
		d.unmount(cgroup2, d.rec.Cgroup)
	}
	if err := d.result(); err != nil {
		return attachError("take mode "+string(cfg.Mode)+" down", cfg.tree().root(), oneLine(err),
			"mode "+string(k.cfg.Mode)+" is up; run: kmesh-node --mode "+string(cfg.Mode)+" down")
	}
	k.change("mode " + string(cfg.Mode) + " was taken down")
	return nil
}
