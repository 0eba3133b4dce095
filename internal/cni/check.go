// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/podrecord"
	"github.com/kmesh-net/kmesh-node/loader"
)

// check says whether the pod is as add left it: recorded, enrolled, judged on each of its
// devices, and with the addresses that it had. One that left by itself is as it should be,
// and what policy open let in unmanaged, too.
func (p *plugin) check(args *skel.CmdArgs) error {
	c, err := p.begin(args)
	if err != nil {
		return err
	}
	leaves := "the pod of container " + args.ContainerID + " was not looked at"
	c.passLate(types.ErrTryAgainLater, leaves, nil)
	prev, err := c.cfg.previous()
	if err != nil {
		return err
	}
	if err := c.checkNetns(); err != nil {
		return err
	}
	if c.excluded(podOf(args.Args)) {
		return nil
	}
	err = c.compare(prev)
	if err == nil || c.passAbsent(err, leaves) {
		return nil
	}
	return failure(err)
}

// compare is about the record and the namespace, in the mode that is up.
func (c *call) compare(prev *previous) error {
	cookie, err := c.cookie()
	if err != nil {
		return err
	}
	rec, err := c.dir.Read(c.args.ContainerID, c.args.IfName)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return differs("it is not recorded", "start the pod again")
	case err != nil:
		return differs(err.Error(), "")
	case rec.Alone:
		return nil
	case cookie != rec.Cookie:
		return differs(fmt.Sprintf("%s is namespace %d now, not %d", c.args.Netns, cookie, rec.Cookie), "start the pod again")
	case !sameAddresses(rec.IPs, prev.ips):
		return differs(fmt.Sprintf("prevResult has the addresses %v, ADD had %v", prev.ips, rec.IPs), "")
	}
	return c.insist(func(h *loader.Handles) error { return c.compareIn(h, rec) })
}

func sameAddresses(a, b []netip.Addr) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.Addr.Compare)
	slices.SortFunc(b, netip.Addr.Compare)
	return slices.Equal(a, b)
}

// compareIn looks at the pod in one mode.
func (c *call) compareIn(h *loader.Handles, rec *podrecord.Record) error {
	enrolled, err := c.enrolled(h, rec)
	if err != nil {
		return err
	}
	found, err := h.LookRecorded(rec)
	if err != nil {
		return err
	}
	if enrolled && len(found.Unjudged) > 0 {
		return differs("xdpauth is not on "+strings.Join(found.Unjudged, ", "), "run: kmesh-node enroll --netns "+rec.Netns)
	}
	for _, ip := range rec.IPs {
		if !slices.Contains(found.Addresses, ip) {
			return differs(fmt.Sprintf("the pod has no address %s any more", ip), "")
		}
	}
	return nil
}

// enrolled says whether the pod is, and with an error that it should be.
func (c *call) enrolled(h *loader.Handles, rec *podrecord.Record) (bool, error) {
	is, err := h.EnrolledNow(rec.Cookie)
	if is || err != nil {
		return is, err
	}
	id, err := h.NetnsMap()
	switch {
	case err != nil:
		return false, err
	case rec.Map == id: // it left by itself, or by `unenroll`
	case rec.Map == 0 && c.cfg.FailurePolicy == Open: // and no `up` since
		c.data.Log.Warnf("%s: %s is not managed until the next turn of kmesh-node run, or up", Name, rec)
	default:
		return false, differs(fmt.Sprintf("namespace %d is not enrolled", rec.Cookie), "run: kmesh-node enroll --netns "+rec.Netns)
	}
	return false, nil
}

func differs(what, remedy string) error {
	return types.NewError(codeDiffers, "kmesh-node: "+what, remedy)
}

// status says whether an ADD would succeed.
func (p *plugin) status(args *skel.CmdArgs) error {
	c, err := p.begin(args)
	if err != nil {
		return err
	}
	const unmanaged = "new pods are not managed until kmesh-node comes up"
	c.passLate(types.ErrPluginNotAvailable, unmanaged, nil)
	cfg := c.data
	cfg.LockTimeout = c.remaining() / 2
	err = loader.AwaitPods(&cfg)
	if err == nil {
		err = c.each(func(*loader.Handles) error { return nil })
	}
	if err == nil || c.passAbsent(err, unmanaged) {
		return nil
	}
	return types.NewError(types.ErrPluginNotAvailable, fmt.Sprintf("kmesh-node (exit code %d): %s", exit.Code(err), oneLine(err)), "")
}
