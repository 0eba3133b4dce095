// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/kmesh-net/kmesh-node/internal/podrecord"
	"github.com/kmesh-net/kmesh-node/loader"
)

// del releases what add recorded, also when the namespace is gone. What is not known is
// gone already; where kmesh-node is busy the record tells it to release later.
func (p *plugin) del(args *skel.CmdArgs) error {
	c, err := p.begin(args)
	if c == nil {
		return err
	}
	if err != nil { // no pod of the node could be removed for it
		c.data.Log.Warnf("%s: %v; the default is taken", Name, err)
	}
	c.onTime(c.overtime(types.ErrTryAgainLater, "not released"), "", nil)
	if podrecord.CheckID(args.ContainerID, args.IfName) != nil {
		return nil // ADD has refused it, and the runtime is to forget it
	}
	rec, err := c.dir.Read(args.ContainerID, args.IfName)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case rec == nil:
		c.data.Log.Warnf("%s: %v", Name, err)
		if c.checkNetns() == nil {
			rec, err = c.record(podOf(args.Args), &previous{})
			if err == nil {
				rec.Cookie, err = c.cookie()
			}
		}
		if rec == nil || err != nil { // what is left up forgets when the namespace is gone
			return failure(c.dir.Remove(args.ContainerID, args.IfName))
		}
	}
	return failure(c.release(rec))
}

// release takes the enrolment of a record back, unless another attachment of the same pod
// stands, and removes the record. What another boot enrolled went with it, and the cookie
// is another namespace's now. Who was let alone is let alone.
func (c *call) release(rec *podrecord.Record) error {
	boot, err := podrecord.Boot()
	if err != nil {
		return err
	}
	if rec.Boot != boot || rec.Alone {
		return c.dir.Remove(rec.ContainerID, rec.IfName)
	}
	last, err := c.last(rec)
	if err != nil {
		return err
	}
	if last {
		err = c.insist(func(h *loader.Handles) error { return h.ReleaseRecorded(rec) })
	}
	if err != nil && absent(err) && len(loader.ModesUp(&c.data)) > 0 {
		c.data.Log.Warnf("%s: %s is released at the next turn of kmesh-node run, or up: %s", Name, rec, oneLine(err))
		rec.Released = true
		return c.dir.Write(rec)
	}
	if err != nil && !absent(err) {
		return err
	}
	return c.dir.Remove(rec.ContainerID, rec.IfName)
}

// last says whether no other attachment of the namespace stands. Of those that are released
// at the same time who marks the record last sees all others marked.
func (c *call) last(rec *podrecord.Record) (bool, error) {
	list, err := c.records()
	if err != nil || !podrecord.Shared(list, rec) {
		return err == nil, err
	}
	rec.Released = true
	if err := c.dir.Write(rec); err != nil {
		return false, err
	}
	list, err = c.records()
	return err == nil && !podrecord.Shared(list, rec), err
}

// records are those that can be read; the others are told of.
func (c *call) records() ([]*podrecord.Record, error) {
	list, invalid, err := c.dir.List()
	for _, err := range invalid {
		c.data.Log.Warnf("%s: %v", Name, err)
	}
	return list, err
}

// gc releases what is recorded of this network and is not valid any more. What was enrolled
// otherwise has no record, and stays.
func (p *plugin) gc(args *skel.CmdArgs) error {
	c, err := p.begin(args)
	if err != nil {
		return err
	}
	c.onTime(c.overtime(types.ErrTryAgainLater, "not over"), "", nil)
	if c.cfg.attachments == nil {
		c.data.Log.Warnf("%s: the runtime does not say which attachments are valid: all stay", Name)
		return nil
	}
	valid := map[types.GCAttachment]bool{}
	for _, a := range c.cfg.attachments {
		valid[a] = true
	}
	list, err := c.records()
	errs := []error{err}
	for _, r := range list {
		if r.Network == c.cfg.network && !valid[types.GCAttachment{ContainerID: r.ContainerID, IfName: r.IfName}] {
			errs = append(errs, c.release(r))
		}
	}
	return failure(errors.Join(errs...))
}
